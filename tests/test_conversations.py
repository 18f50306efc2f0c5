"""The conversations of the story world: right answers comply, wrong ones do not, nothing leaks."""

import itertools
from collections import Counter
from pathlib import Path

import pytest

from lib.course.conversations import (
    ALONE,
    ENDS,
    KINDS,
    complies,
    conversations,
    held_out_tasks,
    instructed,
    puzzle_task,
    question_tasks,
    story_task,
    transcript,
    wishes,
)
from lib.course.storyworld import World, parse_instruction, parse_puzzle, verify
from lib.course.storyworld.lexicon import LANGUAGES
from lib.tokenizer import load_tokenizer

TOKENIZER = Path(__file__).resolve().parent.parent / "assets" / "tokenizers" / "tale.json"
BOTH = pytest.mark.parametrize("language", LANGUAGES)


@BOTH
def test_the_answer_of_every_task_complies(language):
    tasks = held_out_tasks(12, language)
    assert [task.kind for task in tasks] == [kind for kind in KINDS for _ in range(12)]
    assert all(complies(task, task.answer) for task in tasks)


@BOTH
def test_the_answer_of_another_task_does_not(language):
    for kind in KINDS:
        tasks = [task for task in held_out_tasks(12, language) if task.kind == kind]
        pairs = list(itertools.pairwise(tasks))
        wrong = [complies(one, other.answer) for one, other in pairs if one.answer != other.answer]
        assert sum(wrong) <= 0.3 * len(wrong), kind
        assert not any(complies(task, "") for task in tasks)


@BOTH
def test_conversations_take_turns_and_end_with_the_assistant(language):
    found = list(conversations(5, language))
    assert len(found) == 10
    for messages in found:
        roles = [message["role"] for message in messages]
        assert roles == ["user", "assistant"] * (len(roles) // 2)


@BOTH
def test_instructions_take_turns_with_puzzles_and_every_fourth_time_with_a_text(language):
    texts = [messages[0]["content"] for messages in conversations(8, language)]
    for text in texts[::2]:
        parse_instruction(text, language)
    for i, text in enumerate(texts[1::2]):
        if i % 4:
            parse_puzzle(text, language)
        else:
            assert "\n" in text  # a story and a question


@BOTH
def test_rare_wishes_are_asked_for_more_often_than_they_come_in_stories(language):
    n = 120
    as_they_come = World().stories(n, 0, "train", (language,))
    plain = [story_task(story, language, i) for i, story in enumerate(as_they_come)]
    chosen = [task for _, task in instructed(n, language)]
    asked = [[wish for task in tasks for wish in wishes(task.wanted)] for tasks in (plain, chosen)]
    alone = [Counter(wish for (wish, *more) in some if not more) for some in asked]
    together = [{wish for wish in some if len(wish) > 1} for some in asked]
    assert len(alone[1]) > len(alone[0])  # more kinds of wishes
    assert len(together[1]) > 1.5 * len(together[0])  # and of two at a time
    before, after = (counts["mood", "happy"] / counts.total() for counts in alone)
    assert before > 0.25 > after


@BOTH
def test_ends_can_be_asked_for_in_every_instruction_and_none_is_rare(language):
    tasks = [task for _, task in instructed(160, language, turns=(ENDS,))]
    asked = [[wish for (wish, *more) in wishes(task.wanted) if not more] for task in tasks]
    asked = [[(kind, value) for kind, value in some if kind in ENDS] for some in asked]
    assert all(asked)
    counts = Counter(wish for some in asked for wish in some)
    assert len(counts) == 8 and counts.most_common(1)[0][1] < 6 * min(counts.values())


@BOTH
def test_an_end_can_be_all_that_is_wished_to_happen_and_none_is_rare(language):
    tasks = [task for _, task in instructed(160, language, turns=(ALONE,))]
    asked = [wishes(task.wanted) for task in tasks]
    lone = [
        wish for some in asked for wish, *beside in some if [kind for kind, _ in beside] == [*ALONE]
    ]
    assert len(lone) > 0.9 * len(tasks) and {kind for kind, _ in lone} == set(ENDS)
    counts = Counter(lone)
    assert len(counts) == 8 and counts["mood", "sad"] > 0.1 * len(tasks)
    assert counts.most_common(1)[0][1] < 6 * min(counts.values())


@BOTH
def test_every_story_meets_its_instruction_and_none_is_told_twice(language):
    found = list(instructed(12, language))
    assert all(complies(task, story.text[language]) for story, task in found)
    assert len({story.text[language] for story, _ in found}) == 12


@BOTH
def test_answers_tell_a_story_in_its_likeliest_words(language):
    for story, task in instructed(12, language):
        assert task.answer == story.plainly(language) and complies(task, task.answer)
        read, report = (verify(text, language) for text in (story.text[language], task.answer))
        assert not report.problems
        assert (report.cast, report.events) == (read.cast, read.events)
    told = World().stories(40, 0, "train", (language,))
    assert sum(story.plainly(language) == story.text[language] for story in told) < 4


@BOTH
def test_a_transcript_is_the_conversation_in_lines(language):
    tokenizer = load_tokenizer(TOKENIZER)
    for messages in conversations(6, language):
        pieces = transcript(messages, language)
        assert [text[:-1] for text, answer in pieces if answer] == [
            message["content"] for message in messages if message["role"] == "assistant"
        ]
        whole = "".join(text for text, _ in pieces)
        assert all(message["content"] + "\n" in whole for message in messages)
        cut = [i for text, _ in pieces for i in tokenizer.encode(text)]
        assert cut == tokenizer.encode(whole)


def test_conversations_are_as_long_as_they_may_be():
    def fits(messages):
        return len(messages) <= 4

    assert {len(m) for m in conversations(5, "en", fits=fits)} == {4}
    assert list(conversations(2, "en", fits=lambda messages: False)) == []


def test_another_seed_gives_other_conversations_and_the_same_seed_the_same():
    one, again, other = (list(conversations(3, "en", seed)) for seed in (1, 1, 2))
    assert one == again and not any(messages in other for messages in one)


@BOTH
def test_no_story_of_training_is_among_the_tasks(language):
    told = {m["content"] for messages in conversations(30, language) for m in messages}
    tasks = held_out_tasks(10, language)
    assert not told & {task.text for task in tasks if task.kind != "story"}
    assert not told & {task.answer for task in tasks if task.kind == "story"}


def test_a_question_can_be_asked_with_and_without_its_story():
    story = World().story(3, languages=("en",))
    with_story, without = (question_tasks(story, "en", told=told) for told in (True, False))
    text = story.text["en"] + "\n"
    assert [task.text for task in with_story] == [text + task.text for task in without]


def test_what_is_cut_or_half_right_does_not_comply():
    story = World().story(3, languages=("en",))
    task = story_task(story, "en")
    assert not complies(task, task.answer[: len(task.answer) // 2])
    puzzle = puzzle_task(1, "en")
    assert not complies(puzzle, puzzle.answer.split("Answer:")[0])
