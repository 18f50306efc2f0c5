"""What the README says of speed is what the benchmarks measured, and the targets were met."""

import json

import pytest

from lib.course.notebooks import ROOT

README = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
TOKENIZER = json.loads(
    (ROOT / "benchmarks" / "results" / "tokenizer.json").read_text(encoding="utf-8")
)


def seconds(part, name):
    return TOKENIZER[part][name]["seconds"]


def test_training_takes_at_most_1_2_times_as_long_as_hugging_face_for_the_same_merges():
    ours, theirs = (TOKENIZER["training"][f"train {who}"] for who in ("ours", "hf"))
    assert ours["seconds"] <= 1.2 * theirs["seconds"]
    assert ours["result"] == theirs["result"]


def test_training_is_at_least_fifty_times_faster_than_the_naive_trainer():
    """The naive trainer's first 64 merges alone take fifty times all 3,840 of ours."""
    naive = TOKENIZER["ladder"]["draft naive on start of plays"]
    whole = TOKENIZER["ladder"]["draft heap on plays"]
    assert naive["merges"] < whole["merges"]
    assert naive["seconds"] >= 50 * whole["seconds"]


def test_encoding_is_at_least_2_5_times_as_fast_as_hugging_face_for_the_same_ids():
    ours, theirs = (TOKENIZER["encoding"][f"encode {who}"] for who in ("ours", "hf encode"))
    assert theirs["seconds"] >= 2.5 * ours["seconds"]
    assert ours["result"] == theirs["result"]


def test_streaming_100_mb_stays_under_100_mb_above_the_start():
    memory = TOKENIZER["memory"]["memory"]
    assert memory["file_megabytes"] >= 100
    assert memory["peak_above_start_megabytes"] < 100


@pytest.mark.parametrize(
    ("words", "part", "name", "inverse"),
    [
        ("{} times the time of Hugging Face's Rust", "training", "train hf", True),
        ("{} times as fast as its `encode`", "encoding", "encode hf encode", False),
        (
            "{} times as fast as its `encode_batch_fast`",
            "encoding",
            "encode hf encode_batch_fast, by play",
            False,
        ),
        ("{} times the speed of tiktoken", "encoding", "encode tiktoken", False),
    ],
)
def test_the_readme_quotes_the_measured_ratio(words, part, name, inverse):
    ours = seconds(part, "train ours" if part == "training" else "encode ours")
    ratio = ours / seconds(part, name) if inverse else seconds(part, name) / ours
    assert words.format(f"{ratio:.1f}") in README
