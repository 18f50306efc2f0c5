"""Small puzzles with worked reasoning: arithmetic to twenty, and who or what is where.

A puzzle is a few sentences and a question. It can be read back from its text and is then solved by
program, so `verify_solution` needs no more than the puzzle's text:

    >>> made = puzzle(1, "en", kind="change")
    >>> verify_solution(parse_puzzle(made.text, "en"), made.solution).right
    True
    >>> verify_solution(made, "Answer: 21").right
    False
"""

import itertools
import random
import re
from dataclasses import dataclass
from zlib import crc32

from lib.course.storyworld.lexicon import load_lexicon
from lib.course.storyworld.simulator import NUMBERS
from lib.course.storyworld.wordings import load_wordings

SPLITS = ("train", "iid", "held_out", "new_sums")
NUMERIC = ("change", "split", "baskets", "buy")  # kinds whose reasoning is equations
PLUS, MINUS = ("find", "get"), ("give_away", "eat")
OPERATIONS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "×": lambda a, b: a * b,
    "÷": lambda a, b: a // b if b and a % b == 0 else None,
}
SIGNS = {"*": "×", "x": "×", "X": "×", "/": "÷", "−": "-", "–": "-"}
EQUATION = re.compile(r"(\d+)\s*([-+×÷*xX/−–])\s*(\d+)\s*=\s*(\d+)")
FIRST_OF = {"left_of": "row", "right_of": "row", "front_of": "line", "behind": "line"}
BACKWARDS = ("right_of", "behind")
PLACES = {
    "row": {"ask_left_end": 0, "ask_right_end": -1, "ask_left_second": 1, "ask_right_second": -2},
    "line": {"ask_first": 0, "ask_last": -1, "ask_second": 1, "ask_second_last": -2},
}
SEPARATOR = {"en": ", ", "zh": "、"}
STOP = {"en": ".", "zh": "。"}
GAP = {"en": " ", "zh": ""}
SENTENCES = (
    *("has", "boxes", "coins", "price", *PLUS, *MINUS, "split", "buy"),
    *("ask_now", "ask_each", "ask_coins", "row", "line", *FIRST_OF, "ask_between"),
    *PLACES["row"], *PLACES["line"], "start", "walk", "hand_over", "leave", "ask_thing",
)  # fmt: skip


@dataclass(frozen=True)
class Puzzle:
    """A puzzle and its solution.

    sentences: (rule of the wordings, values). answer: a number as text, a name or a place.
    work: the reasoning: equations (rule, a, sign, b, result), or each clue as a pair of names in
    order and the rows that it leads to, or states of the thing.
    """

    kind: str
    language: str
    text: str
    sentences: tuple[tuple[str, dict], ...]
    answer: object
    work: tuple[tuple, ...]
    solution: str


@dataclass(frozen=True)
class Verdict:
    """What is wrong with a solution, and whether it is right in answer and in every step."""

    answered: bool
    problems: tuple[str, ...]

    @property
    def right(self) -> bool:
        return self.answered and not self.problems


def held_out(*latent) -> bool:
    """Whether a sum, a sum with what is counted or bought, a pattern of clues with its question, or
    a thing and the place where it ends are kept out of training."""
    return crc32(" ".join(map(str, latent)).encode()) % 9 == 0


def puzzle(seed: int | str, language: str, split: str = "train", kind: str | None = None) -> Puzzle:
    """The puzzle of a seed.

    split: train and iid hold no combination that is held out, held_out at least one: a sum with
    what is counted or bought, a pattern of clues with its question, or a thing and the place where
    it ends. The sums of these three are all of the same table; new_sums has at least one that they
    never have, whatever is counted, and so only the kinds with numbers. A puzzle of more steps has
    more chances to hold one: held_out and new_sums are a little longer than train on average.
    """
    kinds = NUMERIC if split == "new_sums" else KINDS
    if split not in SPLITS or kind not in (None, *kinds):
        raise ValueError(f"splits are {', '.join(SPLITS)}, and kinds are {', '.join(kinds)}")
    rng = random.Random(f"puzzle {split} {kind} {seed}")
    kind = kind or rng.choice(kinds)
    while True:
        sentences = MAKERS[kind](rng)
        if split_of(sentences) == ("train" if split == "iid" else split):
            return tell(kind, language, sentences, rng)


def tell(kind: str, language: str, sentences: list, rng: random.Random) -> Puzzle:
    """A puzzle in words, with its solution."""
    words = load_wordings(language)
    told = [words.write(rule, values, rng) for rule, values in sentences]
    text = GAP[language].join(sentence[:1].upper() + sentence[1:] for sentence in told)
    return finish(kind, language, text, sentences, rng)


def finish(kind: str, language: str, text: str, sentences: list, rng) -> Puzzle:
    answer, work = solve(sentences)
    solution = explain(language, sentences, answer, work, rng)
    return Puzzle(kind, language, text, tuple(sentences), answer, tuple(work), solution)


# --- making ------------------------------------------------------------------------------------


def people(rng: random.Random, n: int) -> list[str]:
    return rng.sample(list(load_lexicon().words["names"]), n)


def a_food(rng: random.Random) -> str:
    return rng.choice(list(load_lexicon().words["foods"]))


def changes(rng: random.Random, who: dict, total: int, n: int) -> list[tuple[str, dict]]:
    """n sentences in which a number grows or shrinks, between 1 and 20."""
    steps = []
    for _ in range(n):
        more = total < 3 or (total < 18 and rng.random() < 0.5)
        by = rng.randint(1, min(10, 20 - total if more else total - 1))
        rule = rng.choice(PLUS if more else MINUS)
        if steps and steps[-1][0] == rule:
            rule = next(other for other in (PLUS if more else MINUS) if other != rule)
        total += by if more else -by
        steps.append((rule, {**who, "m": by}))
    return steps


def make_change(rng: random.Random) -> list[tuple[str, dict]]:
    one, other = people(rng, 2)
    who, n = {"A": one, "B": other, "F": a_food(rng)}, rng.randint(2, 15)
    steps = changes(rng, who, n, rng.randint(1, 2))
    return [("has", {**who, "n": n}), *steps, ("ask_now", who)]


def make_split(rng: random.Random) -> list[tuple[str, dict]]:
    one, other = people(rng, 2)
    who, parts = {"A": one, "B": other, "F": a_food(rng)}, rng.randint(2, 5)
    total = parts * rng.randint(2, 20 // parts)
    start = rng.choice([total, *range(max(2, total - 8), total)])
    more = [(rng.choice(PLUS), {**who, "m": total - start})] if start < total else []
    split = ("split", {**who, "m": parts})
    return [("has", {**who, "n": start}), *more, split, ("ask_each", who)]


def make_baskets(rng: random.Random) -> list[tuple[str, dict]]:
    one, other = people(rng, 2)
    who, n = {"A": one, "B": other, "F": a_food(rng)}, rng.randint(2, 6)
    m = rng.randint(2, 20 // n)
    steps = changes(rng, who, n * m, rng.randint(0, 1))
    return [("boxes", {**who, "n": n, "m": m}), *steps, ("ask_now", who)]


def make_buy(rng: random.Random) -> list[tuple[str, dict]]:
    who = {"A": people(rng, 1)[0], "F": a_food(rng)}
    price, k = rng.randint(2, 6), rng.randint(2, 3)
    coins = rng.randint(price * k + 2, 20) if price * k < 18 else 20
    sentences = [("coins", {**who, "n": coins}), ("price", {**who, "m": price})]
    return [*sentences, ("buy", {**who, "k": k}), ("ask_coins", who)]


def make_order(rng: random.Random, kind: str) -> list[tuple[str, dict]]:
    names = people(rng, rng.randint(3, 4))
    rules = [rule for rule, of in FIRST_OF.items() if of == kind]
    clues = []
    for before, after in itertools.pairwise(names):
        rule = rng.choice(rules)
        pair = (after, before) if rule in BACKWARDS else (before, after)
        clues.append((rule, dict(zip("AB", pair, strict=True))))
    rng.shuffle(clues)
    questions = [(rule, {}) for rule in PLACES[kind]]
    questions += [
        ("ask_between", {"A": before, "B": after})
        for before, after in zip(names, names[2:], strict=False)
    ]
    return [(kind, {"N": NUMBERS[len(names) - 1]}), *clues, rng.choice(questions)]


def make_carry(rng: random.Random) -> list[tuple[str, dict]]:
    """Something goes from place to place and from hand to hand; perhaps it is left behind."""
    words = load_lexicon().words
    names, places = people(rng, 4), rng.sample(list(words["places"]), 6)
    thing, look = rng.choice(list(words["things"])), rng.choice(list(words["looks"]))
    holder, at = names.pop(), places.pop()
    sentences = [("start", {"A": holder, "T": thing, "L": look, "P": at})]
    for _ in range(rng.randint(2, 4)):
        if rng.random() < 0.6 or sentences[-1][0] == "hand_over":
            sentences.append(("walk", {"A": holder, "P": places.pop()}))
        else:
            giver, holder = holder, names.pop()
            sentences.append(("hand_over", {"A": giver, "B": holder, "T": thing}))
    if rng.random() < 0.5:
        sentences.append(("leave", {"A": holder, "T": thing, "P": places.pop()}))
    return [*sentences, ("ask_thing", {"T": thing})]


MAKERS = {
    "change": make_change,
    "split": make_split,
    "baskets": make_baskets,
    "buy": make_buy,
    "row": lambda rng: make_order(rng, "row"),
    "line": lambda rng: make_order(rng, "line"),
    "carry": make_carry,
}
KINDS = tuple(MAKERS)


# --- solving -----------------------------------------------------------------------------------


def solve(sentences: list) -> tuple[object, list[tuple]]:
    """The answer of a puzzle, and the reasoning that leads to it."""
    first = sentences[0][0]
    if first in ("row", "line"):
        return solve_order(sentences)
    return solve_carry(sentences) if first == "start" else solve_arithmetic(sentences)


def solve_arithmetic(sentences: list) -> tuple[str, list[tuple]]:
    total, price, work = 0, 0, []

    def step(rule, a, sign, b):
        work.append((rule, a, sign, b, OPERATIONS[sign](a, b)))
        return work[-1][-1]

    for rule, values in sentences:
        if rule in ("has", "coins"):
            total = values["n"]
        elif rule == "boxes":
            total = step("work_times", values["n"], "×", values["m"])
        elif rule == "price":
            price = values["m"]
        elif rule in PLUS:
            total = step("work_plus", total, "+", values["m"])
        elif rule in MINUS:
            total = step("work_minus", total, "-", values["m"])
        elif rule == "split":
            total = step("work_divide", total, "÷", values["m"])
        elif rule == "buy":
            cost = step("work_cost", values["k"], "×", price)
            total = step("work_coins", total, "-", cost)
    return str(total), work


def solve_order(sentences: list) -> tuple[str, list[tuple]]:
    """Who answers the question; and each clue as a pair in order, and how a row grows out of them.

    Behind each pair stands the row that it belongs to, longer by one name at a time: a model that
    writes the whole row behind the last pair has to join all of them at once.
    """
    (kind, _), *clues, (question, asked) = sentences
    after: dict = {}
    work: list[tuple] = []
    for rule, values in clues:
        pair = (values["B"], values["A"]) if rule in BACKWARDS else (values["A"], values["B"])
        after[pair[0]] = pair[1]
        work += [pair, *longer_rows(pair, after)]
    row = work[-1]
    if question == "ask_between":
        return row[(row.index(asked["A"]) + row.index(asked["B"])) // 2], work
    return row[PLACES[kind][question]], work


def longer_rows(row: tuple, after: dict) -> list[tuple]:
    """How a row grows by those who are known to stand before it, and then by those behind.

    after: for each person who stands there.

    >>> longer_rows(("Bo", "Cy"), {"Al": "Bo", "Bo": "Cy", "Cy": "Di"})
    [('Al', 'Bo', 'Cy'), ('Al', 'Bo', 'Cy', 'Di')]
    """
    before, grown = {b: a for a, b in after.items()}, []
    while row[0] in before:
        row = (before[row[0]], *row)
        grown.append(row)
    while row[-1] in after:
        row = (*row, after[row[-1]])
        grown.append(row)
    return grown


def solve_carry(sentences: list) -> tuple[str, list[tuple]]:
    """Where the thing is, and its (place, holder or None) as they change."""
    work: list[tuple] = []
    for rule, values in sentences:
        if rule == "start" or (rule == "walk" and values["A"] == work[-1][1]):
            work.append((values["P"], values["A"]))
        elif rule == "hand_over":
            work.append((work[-1][0], values["B"]))
        elif rule == "leave":
            work.append((work[-1][0], None))
    return work[-1][0], work


def sums(sentences: list) -> list[tuple]:
    """The equations that solve a puzzle, without their results: (sign, a, b)."""
    if sentences[0][0] in ("row", "line", "start"):
        return []
    work = solve(sentences)[1]
    return [(sign, *(sorted((a, b)) if sign in "+×" else (a, b))) for _, a, sign, b, _ in work]


def latents(sentences: list) -> list[tuple]:
    """What a puzzle combines, of parts that training has."""
    rule = sentences[0][0]
    answer, work = solve(sentences)
    if rule in ("row", "line"):
        row = work[-1]
        clues = [f"{r} {min(row.index(v['A']), row.index(v['B']))}" for r, v in sentences[1:-1]]
        return [(rule, *clues, sentences[-1][0])]
    if rule == "start":
        return [(sentences[0][1]["T"], answer)]
    counted = next(values["F"] for _, values in sentences if "F" in values)
    return [(*one, counted) for one in sums(sentences)]


def split_of(sentences: list) -> str:
    """The split that a puzzle belongs to: train, held_out or new_sums."""
    if any(held_out(*one) for one in sums(sentences)):
        return "new_sums"
    return "held_out" if any(held_out(*one) for one in latents(sentences)) else "train"


def explain(language: str, sentences: list, answer, work: list[tuple], rng) -> str:
    """The worked reasoning and the answer, in words."""
    words, values = load_wordings(language), dict(sentences[0][1])
    for _, more in sentences:
        values = {**more, **values}
    said = []
    for step in work:
        if len(step) == 5 and step[2] in OPERATIONS:
            rule, a, _, b, c = step
            said.append(words.write(rule, {**values, "n": a, "m": b, "k": c}, rng))
        elif sentences[0][0] == "start":
            place, holder = step
            state = {"T": values["T"], "P": place, **({"A": holder} if holder else {})}
            said.append(words.write("state_with" if holder else "state_alone", state, rng))
        else:
            names = SEPARATOR[language].join(name_of(name, language) for name in step)
            said.append(words.write(f"work_{sentences[0][0]}", {}, rng) + GAP[language] + names)
            said[-1] += STOP[language]
    said.append(words.write("answer", {}, None) + say_answer(answer, language) + STOP[language])
    return GAP[language].join(said)


def name_of(name: str, language: str) -> str:
    return getattr(load_lexicon().words["names"][name], language)


def say_answer(answer: str, language: str) -> str:
    """An answer in words: a number, a name, or where in a place."""
    words = load_lexicon().words
    if answer in words["places"]:
        place = words["places"][answer]
        return place.at if language == "en" else place.zh
    return name_of(answer, language) if answer in words["names"] else answer


# --- reading and checking ----------------------------------------------------------------------


def parse_puzzle(text: str, language: str) -> Puzzle:
    """The puzzle that a text is, solved; ValueError if it is none, or could be two."""
    found = readings(text, language)
    if len(found) != 1:
        what = "no puzzle" if not found else f"a puzzle with {len(found)} meanings"
        raise ValueError(f"this is {what}: {text!r}")
    first, ask = found[0][0][0], found[0][-1][0]
    kinds = {"start": "carry", "boxes": "baskets", "coins": "buy", "has": "change"}
    kind = "split" if ask == "ask_each" else kinds.get(first, first)
    return finish(kind, language, text, found[0], random.Random(0))


def readings(text: str, language: str) -> list[list[tuple[str, dict]]]:
    """The sentences of every reading of a text as a puzzle."""
    words, lower, found = load_wordings(language), text.lower(), []
    stack: list[tuple[int, list]] = [(0, [])]
    while stack:
        at, sentences = stack.pop()
        if at == len(text):
            if sentences and sentences[-1][0].startswith("ask") and sentences not in found:
                found.append(sentences)
            continue
        at += len(GAP[language]) if at else 0
        known = {k: v for _, values in sentences for k, v in values.items() if k == "F"}
        for rule in SENTENCES:
            for end, values in words.read_from(rule, lower, at, known):
                stack.append((end, [*sentences, (rule, values)]))
    return found


def verify_solution(made: Puzzle, text: str) -> Verdict:
    """Whether a text gives the right answer, and whether every step that it shows is right.

    Steps need not be those of `made.solution`, nor all be shown; but what is shown must be true.
    """
    mark = load_wordings(made.language).write("answer", {}, None).strip()
    steps, *said = re.split(re.escape(mark).replace("：", "[:：]"), text, flags=re.IGNORECASE)
    right = say_answer(made.answer, made.language).lower()
    answers = {" ".join(s.split()).strip(" .。!！").lower() for s in said}
    short = right.removeprefix("在")
    accepted = {right, short, "在" + short, made.answer.lower()}
    if made.language == "en" and made.kind == "carry":
        accepted |= {f"the {made.answer}", f"at the {made.answer}"}
    check = {"row": wrong_rows, "line": wrong_rows, "carry": wrong_states}
    problems = check.get(made.kind, wrong_equations)(made, steps)
    return Verdict(bool(answers) and answers <= accepted, tuple(problems))


def wrong_equations(made: Puzzle, text: str) -> list[str]:
    """The equations that are false, or whose numbers come from nowhere."""
    known = {v for _, values in made.sentences for v in values.values() if isinstance(v, int)}
    problems, result = [], None
    for a, sign, b, c in EQUATION.findall(text):
        sign, a, b, result = SIGNS.get(sign, sign), int(a), int(b), int(c)
        if OPERATIONS[sign](a, b) != result:
            problems.append(f"{a} {sign} {b} is not {result}")
        problems += [f"{n} comes from nowhere" for n in (a, b) if n not in known]
        known.add(result)
    if result is not None and str(result) != made.answer:
        problems.append(f"the last result is {result}, not {made.answer}")
    return problems


def wrong_rows(made: Puzzle, text: str) -> list[str]:
    """The lists of names that do not stand so in the row."""
    back = {name_of(name, made.language): name for name in load_lexicon().words["names"]}
    one = "|".join(sorted(map(re.escape, back), key=len, reverse=True))
    row, separator = made.work[-1], re.escape(SEPARATOR[made.language])
    problems = []
    for match in re.finditer(rf"(?:{one})(?:{separator}(?:{one}))+", text):
        names = tuple(back[name] for name in match.group().split(SEPARATOR[made.language]))
        if not any(row[i : i + len(names)] == names for i in range(len(row))):
            problems.append(f"nobody stands so: {match.group()}")
    return problems


def wrong_states(made: Puzzle, text: str) -> list[str]:
    """The statements about the thing that are not true in this order."""
    words, problems, left = load_wordings(made.language), [], list(made.work)
    thing = {"T": made.sentences[0][1]["T"]}
    for said in re.findall(r"[^.。]+[.。]", text):
        for rule in ("state_with", "state_alone"):
            for values in words.read(rule, said.strip()):
                state = values["P"], values.get("A")
                if values["T"] != thing["T"] or state not in left:
                    problems.append(f"not so: {said.strip()}")
                else:
                    left = left[left.index(state) + 1 :]
    return problems
