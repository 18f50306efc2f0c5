"""What is derived from one story: questions, labels, instructions, puzzles and preferences."""

import itertools
import random
import re
from collections import Counter
from functools import cache

import numpy as np
import pytest

from lib.course.storyworld.instructions import (
    DEEDS,
    PARTS,
    comply,
    constraint,
    constraints_of,
    instruction,
    meets,
    parse_instruction,
    readings,
    write,
)
from lib.course.storyworld.lexicon import LANGUAGES, load_lexicon
from lib.course.storyworld.plots import Character, Record
from lib.course.storyworld.preferences import CHANGES, TOLERANCE, preference
from lib.course.storyworld.puzzles import (
    KINDS,
    NUMERIC,
    SENTENCES,
    SPLITS,
    held_out,
    latents,
    parse_puzzle,
    puzzle,
    say_answer,
    sums,
    verify_solution,
)
from lib.course.storyworld.puzzles import readings as puzzle_readings
from lib.course.storyworld.questions import (
    CAUSES,
    CROSSLINGUAL,
    answers,
    ask,
    check_answer,
    parse_question,
    questions,
    story_labels,
)
from lib.course.storyworld.simulator import Event
from lib.course.storyworld.verifier import verify
from lib.course.storyworld.wordings import LISTS, entries, load_wordings
from lib.course.storyworld.world import World

BOTH = pytest.mark.parametrize("language", LANGUAGES)


@cache
def stories(split="train", n=120):
    return [World().story(f"tasks:{i}", split) for i in range(n)]


@cache
def asked(language):
    found = [(s, q) for s in stories() for q in questions(s, language)]
    return found + [(s, q) for s in stories("crosslingual", 25) for q in questions(s, language)]


def record_of(*events, cast=(), looks=None):
    """A record of events given as words."""
    told = [Event(kind, tuple(args)) for kind, *args in (event.split() for event in events)]
    everyone = {name: Character(name, "fox", "kind") for name in cast}
    return Record("", "", "train", everyone, looks or {}, told)


def some_values(wordings, rng):
    """Random values for all letters, with a pronoun's name known."""
    values = {letter: rng.choice(list(entries(name))) for letter, name in LISTS.items()}
    names = rng.sample(list(load_lexicon().words["names"]), 5)
    return {**values, **dict(zip("ABCDE", names, strict=True))}


# --- questions -----------------------------------------------------------------------------------


def test_both_languages_have_wordings_for_the_same_tasks():
    english, chinese = load_wordings("en").rules, load_wordings("zh").rules
    kinds = {rule.partition(".")[0] for rule in english if "." in rule}
    assert kinds == {rule.partition(".")[0] for rule in chinese if "." in rule}
    assert len(kinds) >= 12
    for rules in (english, chinese):
        assert all(len(rules[f"{kind}.ask"][None]) >= 3 for kind in kinds)
        assert rules["event"].keys() == DEEDS.keys()
        assert all(len(wordings) >= 3 for wordings in rules["event"].values())
        assert rules["cause"].keys() == CAUSES.keys()


@BOTH
def test_no_two_questions_are_worded_alike(language):
    words, rng = load_wordings(language), random.Random(0)
    for rule in [rule for rule in words.rules if rule.endswith(".ask")]:
        for wording in words.rules[rule][None]:
            values = some_values(wording, rng)
            text = "".join(
                piece.write(values) if hasattr(piece, "write") else piece[0]
                for piece in wording.pieces
            )
            (meant,) = parse_question(text, language)
            assert meant[0] == rule.removesuffix(".ask"), text
            assert meant[1].items() <= values.items(), text


@BOTH
def test_right_answers_are_accepted_in_short_and_in_full(language):
    for _, question in asked(language):
        for text in (question.short, question.full, f"  {question.full.lower()} "):
            assert check_answer(question, text), (question, text)


@BOTH
def test_a_question_of_every_kind_comes_up(language):
    kinds = {question.kind for _, question in asked(language)}
    rules = load_wordings(language).rules
    missing = {rule.partition(".")[0] for rule in rules if "." in rule} - kinds
    assert len(kinds) >= 30 and missing <= {"where_is", "who_broke", "who_mended", "what_made"}


@BOTH
def test_the_answer_with_another_value_is_refused(language):
    words, rng = load_wordings(language), random.Random(1)
    for _, question in asked(language):
        true = {**question.details, **question.given, **question.answer}
        for key, value in question.answer.items():
            if key in ("cause", "promise"):
                continue  # other letters go with another cause
            options = entries(LISTS[key]) if key in LISTS else words.rules[RULE_OF[key]]
            others = [o for o in options if o not in (value, *question.given.values())]
            false = {**true, key: rng.choice(others)}
            for part in ("short", "full"):
                text = words.write(f"{question.kind}.{part}", false, None)
                if text == words.write(f"{question.kind}.{part}", true, None):
                    continue  # it does not tell this value
                assert not check_answer(question, text), (question, text)


RULE_OF = {"mood": "mood_is", "topic": "topic", "kept": "kept", "grew": "grew"}


@BOTH
def test_two_names_a_denial_or_a_doubt_are_no_answer(language):
    patterns = {
        "en": ["{} and {}", "{} or {}", "Not {}, but {}", "{}. No, {}", "maybe {}", "not {}"],
        "zh": ["{}和{}", "{}或者{}", "不是{}，是{}", "{}，不对，{}", "也许是{}", "不是{}"],
    }
    names = load_lexicon().words["names"]
    for story, question in asked(language):
        if LISTS.get(next(iter(question.answer))) != "names":
            continue
        right = getattr(names[next(iter(question.answer.values()))], language)
        for other in story.record.cast:
            wrong = getattr(names[other], language)
            for pattern in patterns[language] if wrong != right else ():
                for order in ((right, wrong), (wrong, right)):
                    assert not check_answer(question, pattern.format(*order))


def test_an_answer_may_be_worded_freely_but_not_add_what_is_untrue():
    record = record_of(
        "intro Mia lake", "own Mia key", "end_content Mia", cast=["Mia"], looks={"key": "red"}
    )
    question = ask(record, "en", "Who has the key at the end?")
    assert check_answer(question, "I think it is Mia")
    assert check_answer(question, "It is Mia who has the red key")
    assert not check_answer(question, "Mia has the blue key")
    assert not check_answer(question, "It is Mia, who has a kite")
    assert not check_answer(question, "")


def test_yes_with_a_denial_is_no_answer():
    record = record_of(
        "intro Mia lake", "promise_meet Tom Mia mill", "arrive Tom Mia mill", cast=["Mia", "Tom"]
    )
    question = ask(record, "en", "Did Tom keep the promise to Mia?")
    assert check_answer(question, "Yes.") and check_answer(question, "Yes, Tom kept his promise.")
    assert not check_answer(question, "Yes, Tom did not keep the promise.")
    assert not check_answer(question, "No, Tom kept the promise.")


def test_a_question_with_two_answers_is_not_asked():
    lost = ["drop Mia key mill", "give_up Mia key", "end_sad Mia"]
    one = {kind: answer for kind, _, answer in answers(record_of("intro Mia lake", *lost))}
    assert one["what_lost"] == {"T": "key"} and one["why_sad"]["cause"] == "give_up"
    events = ["intro Mia lake", "refuse Tom Mia", "drop Mia hat mill", *lost]
    two = {kind for kind, _, _ in answers(record_of(*events))}
    assert not two & {"what_lost", "why_sad"} and "where_lost" in two


@BOTH
def test_the_text_of_a_story_alone_decides_its_questions(language):
    for story in stories()[:15]:
        report = verify(story.text[language], language)
        told = Record("", story.topic, "", report.cast, report.looks, report.events)
        for question in questions(story, language):
            assert ask(told, language, question.text).answer == question.answer


def test_chinese_asks_about_what_chinese_training_never_tells():
    kinds = Counter(q.kind for _, q in asked("zh") if q.crosslingual)
    assert kinds.keys() == CROSSLINGUAL == {"what_traded", "where_planted", "did_grow"}
    assert not any(q.crosslingual for s in stories() for q in questions(s, "zh"))
    wanted = [instruction(s, "zh", i) for s in stories("crosslingual", 25) for i in range(4)]
    assert any(one.crosslingual for one in wanted)
    assert not any(one.crosslingual for _, one in ordered("zh"))


@BOTH
def test_labels_are_words_of_the_language(language):
    for story in stories()[:20]:
        found = story_labels(story, language)
        assert found.keys() == {"mood", "topic"}
        assert all(text.isascii() == (language == "en") for text in found.values())


@BOTH
def test_a_number_that_no_story_has_makes_an_answer_wrong(language):
    for _, question in asked(language)[::7]:
        for text in (f"{question.short} 12", f"3456 {question.short}", "12", "0"):
            assert not check_answer(question, text), (question, text)


# --- instructions --------------------------------------------------------------------------------


@cache
def ordered(language):
    return [(s, instruction(s, language, seed)) for s in stories() for seed in range(4)]


@BOTH
def test_an_instruction_has_one_meaning_and_can_be_read_back(language):
    for _, wanted in ordered(language):
        assert readings(wanted.text, language) == [wanted.constraints], wanted.text
        assert 1 <= len(wanted.constraints) <= 3
    kinds = {one.kind for _, wanted in ordered(language) for one in wanted.constraints}
    assert kinds == PARTS.keys()


@BOTH
def test_a_story_meets_the_instructions_made_from_it(language):
    for story, wanted in ordered(language)[::2]:
        assert comply(wanted.text, story.text[language], language).ok, wanted.text


def other_constraint(one, record, rng):
    """The same constraint with one value that the record does not have."""
    lists = {"hero": "SRA", "friend": "ZY", "place": "P", "thing": "U", "name": "B"}
    values = one.values
    if one.kind in lists:
        key = rng.choice([letter for letter in lists[one.kind] if letter in values])
        options = list(entries(LISTS[key]))
    elif one.kind == "event":
        key = rng.choice([letter for letter in "TLF" if letter in values] or ["event"])
        options = list(entries(LISTS[key])) if key in LISTS else ["fall", "rescue", "ill", "lie"]
    else:
        key = PARTS[one.kind][0]
        options = {"mood": ["happy", "sad", "open"], "promised": ["kept", "broken"]}.get(
            key, ["rain", "wind", "sun"]
        )
    told = {arg for event in record.events for arg in event.args}
    told |= {part for character in record.cast.values() for part in character}
    told |= {record.mood, *record.looks.values(), *(event.kind for event in record.events)}
    told |= {values[key], *(d for d, entry in DEEDS.items() if set(entry[0].split()) & told)}
    options = [option for option in options if option not in told]
    return {**values, key: rng.choice(options)} if options else None


@BOTH
def test_a_story_that_misses_one_constraint_does_not_comply(language):
    rng, tried = random.Random(2), 0
    for story, wanted in ordered(language):
        values = {k: v for one in wanted.constraints for k, v in one.told}
        one = rng.choice(wanted.constraints)
        changed = other_constraint(one, story.record, rng)
        if changed is None:
            continue
        values |= changed
        text = write(values, language, rng)
        assert parse_instruction(text, language).constraints == constraints_of(values)
        found = comply(text, story.text[language], language)
        missed = [met.kind for met, is_met in found.met if not is_met]
        assert missed == [one.kind] and found.consistent and not found.ok, text
        assert 0 <= found.score < 1
        tried += 1
    assert tried > 180


@BOTH
def test_a_story_of_another_instruction_is_judged_by_its_own_events(language):
    every, count = ordered(language), 0
    for (story, _), (_, wanted) in zip(every, every[17:], strict=False):
        found = comply(wanted, story.text[language], language)
        assert all(is_met == meets(story.record, one) for one, is_met in found.met)
        count += not found.ok
    assert count > 180


@BOTH
def test_who_does_it_matters_when_the_instruction_says_the_hero(language):
    for story in stories():
        lend = next((e for e in story.record.events if e.kind == "lend"), None)
        if lend and lend.args[0] == next(iter(story.record.cast)):
            by_hero = constraint("event", {"event": "borrow", "by_hero": True, "T": lend.args[2]})
            by_anyone = constraint("event", {"event": "borrow", "T": lend.args[2]})
            assert not meets(story.record, by_hero) and meets(story.record, by_anyone)
            return
    raise AssertionError("no story lends anything")


@BOTH
def test_an_inconsistent_story_earns_nothing(language):
    story = stories()[0]
    wanted = instruction(story, language)
    text = story.text[language]
    cut = text[: text.rindex("." if language == "en" else "。", 0, -2) + 1]
    found = comply(wanted, cut, language)
    assert not found.consistent and not found.ok and found.score == 0


def test_what_is_no_instruction_says_so():
    with pytest.raises(ValueError, match="no instruction"):
        parse_instruction("Write a poem about a fox.", "en")
    with pytest.raises(ValueError, match="one to three"):
        instruction(stories()[0], "en", n=4)
    with pytest.raises(ValueError, match="en and zh"):
        instruction(stories()[0], "fr")


# --- puzzles -------------------------------------------------------------------------------------


@cache
def made(language):
    found = [puzzle(i, language, SPLITS[i % 3], KINDS[i % len(KINDS)]) for i in range(210)]
    return found + [puzzle(i, language, "new_sums") for i in range(40)]


@BOTH
def test_a_puzzle_has_one_meaning_and_is_solved_from_its_text(language):
    for one in made(language):
        again = parse_puzzle(one.text, language)
        assert (again.kind, again.answer, again.work) == (one.kind, one.answer, one.work), one.text
        assert len(puzzle_readings(one.text, language)) == 1
        assert verify_solution(again, one.solution).right, one.solution


@BOTH
def test_no_two_sentences_of_puzzles_are_worded_alike(language):
    words, rng = load_wordings(language), random.Random(3)
    for rule in SENTENCES:
        for wording in words.rules[rule][None]:
            values = some_values(wording, rng)
            text = "".join(
                piece.write(values) if hasattr(piece, "write") else piece[0]
                for piece in wording.pieces
            )
            assert [other for other in SENTENCES if words.read(other, text)] == [rule], text


@BOTH
def test_numbers_stay_between_one_and_twenty(language):
    for one in made(language):
        numbers = [v for _, values in one.sentences for v in values.values() if isinstance(v, int)]
        if one.kind in ("change", "split", "baskets", "buy"):
            numbers += [step[-1] for step in one.work]
        assert all(1 <= number <= 20 for number in numbers)


@BOTH
def test_a_wrong_answer_or_no_answer_is_refused(language):
    mark = load_wordings(language).write("answer", {}, None)
    rng = random.Random(4)
    for one in made(language):
        lists = {"carry": "places", "row": "names", "line": "names"}
        options = entries(lists.get(one.kind, "digits"))
        other = rng.choice([o for o in map(str, options) if o != one.answer])
        wrong, right = say_answer(other, language), say_answer(one.answer, language)
        steps = one.solution.split(mark)[0]
        for text in (steps, steps + mark + wrong, mark + right + ". " + mark + wrong, right):
            assert not verify_solution(one, text).right, (one.text, text)
        assert verify_solution(one, mark + right).right


@BOTH
def test_a_wrong_step_is_found_though_the_answer_is_right(language):
    for one in made(language):
        if one.kind in ("row", "line"):
            names = one.solution.split(": " if language == "en" else "：")[1]
            separator = ", " if language == "en" else "、"
            first = names.split("." if language == "en" else "。")[0]
            wrong = one.solution.replace(first, separator.join(first.split(separator)[::-1]), 1)
        elif one.kind == "carry":
            stop = ". " if language == "en" else "。"
            wrong = one.solution.split(stop)[0] + stop + one.solution
        else:
            a, sign, b, c = one.work[0][1:]
            wrong = one.solution.replace(f"{a} {sign} {b} = {c}", f"{a} {sign} {b} = {c + 1}", 1)
        assert wrong != one.solution
        verdict = verify_solution(one, wrong)
        assert verdict.answered and verdict.problems, wrong


@BOTH
def test_the_order_of_people_follows_from_pairs(language):
    for one in (p for p in made(language) if p.kind in ("row", "line")):
        *_, row = one.work
        pairs = [step for step in one.work if len(step) == 2]
        assert sorted(pairs) == sorted(itertools.pairwise(row))
        clues = [set(values.values()) for rule, values in one.sentences[1:-1]]
        assert [set(pair) for pair in pairs] == clues  # in the order in which they are told


@BOTH
def test_a_row_grows_by_one_name_at_a_time_that_the_pairs_before_it_give(language):
    for one in (p for p in made(language) if p.kind in ("row", "line")):
        pairs, last = set(), ()
        for step in one.work:
            if len(step) == 2:
                pairs.add(step)
            else:
                assert len(step) == len(last) + 1 and last in (step[1:], step[:-1])
            assert set(itertools.pairwise(step)) <= pairs
            last = step
        assert len(set(one.work)) == len(one.work)


def test_a_number_from_nowhere_is_found():
    one = next(p for p in made("en") if p.kind == "change" and p.answer != "9")
    n = int(one.answer)
    verdict = verify_solution(one, f"{n + 30} - 30 = {n}. Answer: {n}.")
    assert any("comes from nowhere" in problem for problem in verdict.problems)


def test_steps_in_another_order_are_right_too():
    steps = "Mia has 5 apples. Mia finds 6 more. Mia eats 2 of them."
    one = parse_puzzle(f"{steps} How many apples does Mia have now?", "en")
    assert verify_solution(one, "6 - 2 = 4. 4 + 5 = 9. Answer: 9").right
    assert not verify_solution(one, "6 - 2 = 4. 4 + 6 = 10. Answer: 9").right


@pytest.mark.parametrize("kind", KINDS)
def test_no_combination_leaks_from_training(kind):
    found = {split: set() for split in ("train", "iid", "held_out")}
    for split in found:
        for i in range(150):
            found[split].update(latents(list(puzzle(i, "en", split, kind).sentences)))
    kept_out = {latent for latent in found["held_out"] if held_out(*latent)}
    assert kept_out and not kept_out & (found["train"] | found["iid"])


@pytest.mark.parametrize("kind", sorted(set(KINDS) - set(NUMERIC)))
def test_the_parts_of_a_held_out_combination_are_known_from_training(kind):
    def combinations(split, n):
        return [latents(list(puzzle(i, "en", split, kind).sentences))[0] for i in range(n)]

    train, held = combinations("train", 1500), combinations("held_out", 150)
    assert {one[-1] for one in held} <= {one[-1] for one in train}  # the question, or the place
    assert {one[:-1] for one in held} <= {one[:-1] for one in train}  # the clues, or the thing


@pytest.mark.parametrize("kind", NUMERIC)
def test_new_sums_occur_nowhere_else(kind):
    found = {split: [] for split in SPLITS}
    for split in SPLITS:
        for i in range(800 if split == "train" else 150):
            found[split].append(sums(list(puzzle(i, "en", split, kind).sentences)))
    known = {one for split in ("train", "iid", "held_out") for some in found[split] for one in some}
    assert all(set(some) - known for some in found["new_sums"])
    held = [one for some in found["held_out"] for one in some]
    train = {one for some in found["train"] for one in some}
    assert sum(one in train for one in held) > 0.9 * len(held)  # parts that training has


def test_unknown_kinds_and_splits_of_puzzles_are_refused():
    with pytest.raises(ValueError, match="held_out"):
        puzzle(0, "en", split="test")
    with pytest.raises(ValueError, match="kinds are change, split, baskets, buy"):
        puzzle(0, "en", split="new_sums", kind="row")
    with pytest.raises(ValueError, match="no puzzle"):
        parse_puzzle("How much is the fish?", "en")


# --- preferences ---------------------------------------------------------------------------------


@cache
def pairs(language, n=900):
    kinds = list(CHANGES)
    return [preference(i, language, kinds[i % len(kinds)]) for i in range(n)]


@BOTH
def test_only_the_chosen_continuation_is_consistent(language):
    for pair in pairs(language)[::4]:
        assert verify(pair.prompt + pair.chosen, language).ok
        assert not verify(pair.prompt + pair.rejected, language).ok


@BOTH
def test_continuations_have_about_the_same_length(language):
    for pair in pairs(language):
        least, most = sorted([len(pair.chosen), len(pair.rejected)])
        assert most - least <= TOLERANCE * least
    longer = np.mean([len(pair.rejected) > len(pair.chosen) for pair in pairs(language)])
    shorter = np.mean([len(pair.rejected) < len(pair.chosen) for pair in pairs(language)])
    assert abs(longer - shorter) < 0.12


@BOTH
def test_bags_of_words_cannot_tell_the_chosen_continuation(language):
    """Logistic regression on the words of the continuations alone, tried on unseen pairs."""
    bags = [
        [Counter(text.split() if language == "en" else text) for text in (p.chosen, p.rejected)]
        for p in pairs(language)
    ]
    index = {word: i for i, word in enumerate(sorted({w for bag in bags for b in bag for w in b}))}
    x = np.zeros((len(bags), len(index)))
    for row, (chosen, rejected) in zip(x, bags, strict=True):
        for bag, sign in ((chosen, 1), (rejected, -1)):
            for word, count in bag.items():
                row[index[word]] += sign * count
    split = 2 * len(x) // 3
    weights = np.zeros(len(index))
    for _ in range(200):
        p = 1 / (1 + np.exp(x[:split] @ weights))
        weights += 0.5 * (p @ x[:split] / split - 0.01 * weights)
    scores = x[split:] @ weights
    assert np.mean((scores > 0) + 0.5 * (scores == 0)) < 0.65


def test_the_kind_of_a_pair_is_what_its_halves_disagree_about():
    words = load_lexicon().words
    for pair in pairs("en", 60):
        new, old = (Counter(re.findall(r"\w+", text)) for text in (pair.rejected, pair.chosen))
        if pair.kind in ("thing", "look", "food", "number"):
            name = {"look": "looks", "number": "numbers"}.get(pair.kind, pair.kind + "s")
            forms = {form for word in words[name].values() for form in (word.en, word.plural)}
            assert forms & (new - old).keys() and forms & (old - new).keys()


# --- all -----------------------------------------------------------------------------------------


@BOTH
def test_the_same_seed_gives_the_same_tasks(language):
    story = stories()[3]
    assert questions(story, language, 5) == questions(World().story("tasks:3"), language, 5)
    assert instruction(story, language, 5) == instruction(World().story("tasks:3"), language, 5)
    assert puzzle(5, language) == puzzle(5, language)
    assert preference(5, language) == preference(5, language)


def test_aligned_pairs_tell_the_same_events_and_all_of_the_story():
    for story in stories()[:20]:
        pairs = story.aligned()
        assert len(pairs) > 3 and all(english and chinese for english, chinese in pairs)
        assert " ".join(english for english, _ in pairs) == story.text["en"]
        assert "".join(chinese for _, chinese in pairs) == story.text["zh"]
