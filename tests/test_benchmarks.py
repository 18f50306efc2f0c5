"""What the README says of speed is what the benchmarks measured, and the targets were met."""

import json
import re

import pytest

from lib.course.notebooks import ROOT
from lib.course.storyworld import verify

RAW_README = (ROOT / "README.md").read_text(encoding="utf-8")
README = " ".join(RAW_README.split())
RESULTS = ROOT / "benchmarks" / "results"
TOKENIZER, WORLD, DATA, MODEL, TRAINING, GENERATION = (
    json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    for name in ("tokenizer", "storyworld", "data", "model", "training", "generation")
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


def test_the_readme_quotes_what_was_measured_of_the_story_world():
    speed, floor, ngram, twice = (WORLD[key] for key in ("speed", "floor", "ngram", "duplicates"))
    english, chinese = (speed[language]["megabytes_a_second"] for language in ("en", "zh"))
    assert f"{english:.1f} MB of English and {chinese:.1f} MB of Chinese a second" in README
    assert all(twice[language]["told_twice"] == 0 for language in ("en", "zh"))
    assert f"In {twice['en']['stories']:,} stories of each language" in README
    english, chinese = (floor[lang]["expected_bits"]["character"][0] for lang in ("en", "zh"))
    assert f"{english:.3f} bits per character in English, {chinese:.3f} in Chinese" in README
    english, chinese = (ngram[language]["above_the_floor"] for language in ("en", "zh"))
    assert f"stays {english:.2f} and {chinese:.2f} bits above it" in README


def test_the_stories_of_the_readme_are_consistent_and_its_numbers_are_those_of_chapter_06():
    quoted = re.findall(r"^> .*(?:\n> .*)*", RAW_README, re.MULTILINE)
    english, chinese = (re.sub(r"\n?> ", " ", story).strip() for story in quoted)
    assert verify(english, "en").ok
    assert verify(chinese, "zh").ok
    chapter = (ROOT / "chapters" / "06_pretraining.ipynb").read_text(encoding="utf-8")
    found = re.search(r"temperature 0\.3: \{'en': '(.+?)', 'zh': '(.+?)'\}", chapter)
    assert f"{found[1]} English texts and {found[2]} Chinese ones" in README


def test_the_readme_quotes_what_was_measured_of_the_batches():
    rate = DATA["batching"]["ours 32 x 256"]["rate"]
    assert f"{rate / 1e6:.0f} million tokens a second on one core" in README


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("{} times as fast as that of transformers' GPT-2", "transformers"),
        ("{} times as fast as that of `GPTModel`", "llms-from-scratch GPTModel"),
        ("its fused `GPTModelFast` ({})", "llms-from-scratch GPTModelFast"),
    ],
)
def test_the_readme_quotes_what_was_measured_of_the_gpt(words, name):
    ours, theirs = MODEL["1M"]["ours"], MODEL["1M"][name]
    quoted = words.format(f"{theirs['step'] / ours['step']:.2f}")
    assert quoted in " ".join(README.split())


@pytest.mark.parametrize("size", ["1M", "10M", "124M"])
def test_a_step_of_our_gpt_needs_no_more_memory_than_another_and_shares_most_of_its_kernels(size):
    ours = MODEL[size]["ours"]
    others = [v for name, v in MODEL[size].items() if name not in ("ours", "versions")]
    assert len(others) == 3
    assert all(ours["megabytes"] <= other["megabytes"] for other in others)
    assert 0.82 <= round(ours["shared_kernels"], 2) <= 0.90


def times_as_fast(found, key, other):
    return found["ours"][key] / found[other][key]


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("trains Tale {} times as fast as the usual loop", "transformers"),
        ("{} times as fast as around `GPTModel`", "llms-from-scratch GPTModel"),
        ("{} times as fast as around `GPTModelFast`", "llms-from-scratch GPTModelFast"),
    ],
)
def test_the_readme_quotes_what_was_measured_of_training(words, name):
    ratio = times_as_fast(TRAINING["1M"], "tokens_per_second", name)
    assert words.format(f"{ratio:.2f}") in README


def test_the_readme_quotes_what_was_measured_of_training_a_larger_model():
    names = ("transformers", "llms-from-scratch GPTModel", "llms-from-scratch GPTModelFast")
    ratios = [times_as_fast(TRAINING["10M"], "tokens_per_second", name) for name in names]
    assert "At 10 million parameters these are {:.2f}, {:.2f} and {:.2f}".format(*ratios) in README


OTHERS = ("transformers", "llms-from-scratch")


def test_generation_with_tale_is_at_least_twice_as_fast_as_the_faster_of_the_others():
    ratios = [times_as_fast(GENERATION["1M, 1"], "ids_per_second", name) for name in OTHERS]
    assert min(ratios) >= 2
    quoted = (
        "generates with Tale {:.1f} times as fast as `generate` of transformers and {:.1f} times"
    )
    assert quoted.format(*ratios) in README


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("124M, 1", "at 124 million parameters {} times as fast as the faster of them"),
        ("124M, 16", "with 16 sequences at once {} times"),
    ],
)
def test_the_readme_quotes_what_was_measured_of_large_generation(setting, words):
    found = GENERATION[setting]
    ratio = min(times_as_fast(found, "ids_per_second", name) for name in OTHERS)
    assert words.format(f"{ratio:.2f}") in README


def test_the_cost_of_an_id_grows_with_the_length_without_a_cache_and_hardly_with_one():
    growth = GENERATION["growth"]
    assert growth["no cache"][-1] > 5 * growth["no cache"][0]
    assert growth["cache"][-1] < 2 * growth["cache"][0]


LORA = json.loads((RESULTS / "lora.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("size", ["Tale", "SmolLM2"])
def test_lora_training_is_no_slower_and_needs_no_more_memory_than_with_peft(size):
    ours, theirs = LORA[size]["ours"], LORA[size]["peft, transformers' model"]
    ratio = ours["tokens_per_second"] / theirs["tokens_per_second"]
    assert ratio >= 1
    assert ours["megabytes"] <= theirs["megabytes"]
    words = " ".join(README.split())
    assert f"shape {'train ' if size == 'Tale' else ''}{ratio:.2f} times as fast" in words
    assert f"{ours['megabytes']:.0f} MB" in words and f"against {theirs['megabytes']:.0f}" in words
