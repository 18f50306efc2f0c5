"""The progress file forgets nothing, survives damage, and never stops a check."""

import json
import threading

import pytest

from lib.course import progress


@pytest.fixture
def file(tmp_path, monkeypatch):
    path = tmp_path / "progress.jsonl"
    monkeypatch.setenv("COURSE_PROGRESS", str(path))
    return path


def test_the_last_outcome_counts(file):
    progress.record("1.1", "wrong")
    progress.record("1.1", "correct")
    assert progress.latest() == {"1.1": "correct"}


def test_a_fresh_stub_does_not_hide_what_was_done(file):
    progress.record("1.1", "correct")
    progress.record("1.1", "not attempted")
    assert progress.latest() == {"1.1": "correct"}


def test_the_same_outcome_is_written_once(file):
    for _ in range(3):
        progress.record("1.1", "correct")
    assert len(file.read_text(encoding="utf-8").splitlines()) == 1


def test_deleting_the_file_is_harmless(file):
    progress.record("1.1", "correct")
    file.unlink()
    assert progress.latest() == {}


@pytest.mark.parametrize(
    "damage", [b"\xff\xfe\x00", b'{"exercise": 1}', b"[]", b'{"exercise": "1.1", "status": "x"}']
)
def test_a_damaged_file_is_set_aside_and_the_rest_kept(file, damage):
    progress.record("1.1", "correct")
    file.write_bytes(file.read_bytes() + damage + b"\n")
    with pytest.warns(UserWarning, match="set aside"):
        assert progress.latest() == {"1.1": "correct"}
    assert damage in file.with_name("progress.jsonl.damaged").read_bytes()
    assert progress.latest() == {"1.1": "correct"}


def test_a_place_that_cannot_be_written_gives_a_warning(tmp_path, monkeypatch):
    (tmp_path / "a_file").write_text("no folder", encoding="utf-8")
    monkeypatch.setenv("COURSE_PROGRESS", str(tmp_path / "a_file" / "progress"))
    with pytest.warns(UserWarning, match="COURSE_PROGRESS"):
        progress.record("1.1", "correct")


def test_two_writers_lose_nothing(file):
    def write(chapter):
        for n in range(50):
            progress.record(f"{chapter}.{n}", "correct")

    writers = [threading.Thread(target=write, args=(c,)) for c in (1, 2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(progress.latest()) == 100
    assert all(json.loads(line) for line in file.read_text(encoding="utf-8").splitlines())


def test_the_report_lists_done_wrong_and_open(file):
    progress.record("0.1", "crashed")
    text = progress.report()
    assert "wrong  0.1" in text
    assert "open   1.1" in text
    progress.record("1.1", "correct")
    assert "done   1.1" in progress.report()


def test_progress_can_be_switched_off(monkeypatch):
    monkeypatch.setenv("COURSE_PROGRESS", "off")
    assert progress.progress_file() is None
    progress.record("1.1", "correct")
    assert progress.latest() == {}
