"""Files of stories say what made them, and a damaged or foreign one is refused."""

import json

import pytest

from lib.course.storyworld import World, files


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "stories.jsonl"
    files.write_corpus(path, 5, split="iid", seed=3)
    return path


def rewrite(path, change):
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(change(lines)) + "\n", encoding="utf-8")


def test_a_corpus_is_read_as_it_was_written(corpus):
    header, rows = files.read_corpus(corpus)
    stories = list(World().stories(5, 3, "iid"))
    assert header["version"] == files.VERSION
    assert [row["zh"] for row in rows] == [story.text["zh"] for story in stories]
    assert [row["bits"]["en"] for row in rows] == pytest.approx([s.bits("en") for s in stories])


def test_a_corpus_of_another_version_is_refused_with_the_remedy(corpus):
    def older(lines):
        return [json.dumps({**json.loads(lines[0]), "version": 0}), *lines[1:]]

    rewrite(corpus, older)
    with pytest.raises(ValueError, match=r"version 0 .* make it again"):
        files.read_corpus(corpus)


def test_a_corpus_that_was_cut_between_stories_is_refused(corpus):
    rewrite(corpus, lambda lines: lines[:-1])
    with pytest.raises(ValueError, match="has 4 of its 5 stories"):
        files.read_corpus(corpus)


def test_a_corpus_that_was_cut_inside_a_story_is_refused(corpus):
    rewrite(corpus, lambda lines: [*lines[:-1], lines[-1][:50]])
    with pytest.raises(ValueError, match="damaged"):
        files.read_corpus(corpus)


def test_another_file_is_refused(tmp_path):
    path = tmp_path / "other.jsonl"
    path.write_text('{"text": "no story"}\n', encoding="utf-8")
    with pytest.raises(ValueError, match="holds no stories"):
        files.read_corpus(path)


def test_a_failed_write_leaves_the_old_file_and_no_part_of_the_new(corpus, monkeypatch):
    before = corpus.read_bytes()

    def fail(story):
        raise OSError("no space left")

    monkeypatch.setattr(files, "row", fail)
    with pytest.raises(OSError, match="no space"):
        files.write_corpus(corpus, 5)
    assert corpus.read_bytes() == before
    assert [path.name for path in corpus.parent.iterdir()] == [corpus.name]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_pages_of_samples_are_what_the_command_writes(language):
    name, *_ = files.PAGES[language]
    page = (files.FOLDER / name).read_text(encoding="utf-8")
    assert page == "\n".join(files.page(language)) + "\n", "run: python course.py stories --samples"


def test_the_command_prints_a_story_in_both_languages(capsys):
    assert files.main(["--seed", "7"]) == 0
    story = next(World().stories(1, 7))
    assert capsys.readouterr().out == f"{story.text['en']}\n\n{story.text['zh']}\n\n"
