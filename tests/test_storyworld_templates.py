"""The words of the story world: complete, well formed, and readable in one way only."""

import itertools
import re
from collections import Counter

import pytest

from lib.course.storyworld import World, lexicon, templates
from lib.course.storyworld.ambiguity import conflicts, texts_of
from lib.course.storyworld.lexicon import LANGUAGES, load_lexicon, read_yaml
from lib.course.storyworld.plots import all_steps, load_plots
from lib.course.storyworld.simulator import load_kinds
from lib.course.storyworld.templates import FILES, Mention, compile_template, load_templates

PLACEHOLDER = re.compile(r"\{[^}]*\}")


def all_templates(language: str) -> list:
    return [t for of_kind, _ in load_templates(language).values() for t in of_kind]


# ------------------------------------------------------------ size


def test_there_are_forty_to_sixty_kinds_of_events_and_twenty_to_thirty_plots():
    assert 40 <= len(load_kinds()) <= 60
    assert 20 <= len(load_plots()) <= 30


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_kind_of_event_has_six_to_ten_templates(language):
    sizes = {kind: len(of_kind) for kind, (of_kind, _) in load_templates(language).items()}
    assert sizes.keys() == load_kinds().keys()
    assert not {kind: size for kind, size in sizes.items() if not 6 <= size <= 10}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_has_four_to_six_hundred_lemmas(language):
    lists = load_lexicon().words.values()
    words = {getattr(word, language) for entries in lists for word in entries.values()}
    assert 400 <= len(words | set(read_yaml(FILES[language])["lemmas"])) <= 600


# ------------------------------------------------------------ every word is listed


def words_of_templates(language: str) -> Counter:
    """The words of all templates; in English in small letters, but for I."""
    used: Counter = Counter()
    for sources in read_yaml(FILES[language])["templates"].values():
        for source in sources:
            text = PLACEHOLDER.sub(" ", source)
            if language == "zh":
                used.update(re.findall(r"[\w’]+", text))
            else:
                found = re.findall(r"[A-Za-z]+(?:'[a-z]+)?", text)
                used.update(w if re.match(r"I\b", w) else w.lower() for w in found)
    return used


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_word_of_a_template_is_among_the_lemmas_and_none_is_idle(language):
    lemmas = read_yaml(FILES[language])["lemmas"]
    forms = [form for of in lemmas.values() for form in of] if language == "en" else lemmas
    assert not [form for form, n in Counter(forms).items() if n > 1]
    used = set(words_of_templates(language))
    assert used - set(forms) == set(), "words that no lemma has"
    assert set(forms) - used == set(), "lemmas that no template uses"


def test_every_kind_is_told_by_a_plot():
    told = {step.do for plot in load_plots().values() for step in all_steps(plot.steps)}
    assert load_kinds().keys() - told - {"rest", "sing", "snack"} == set()


def test_plots_name_events_with_the_right_number_of_roles():
    kinds = load_kinds()
    for plot in load_plots().values():
        for step in all_steps(plot.steps):
            if step.do in kinds:
                assert len(step.roles) == len(kinds[step.do].letters), f"{plot.name}: {step}"
            else:
                assert step.do in ("pick", "less", "pause", "either", "case"), step


# ------------------------------------------------------------ the lexicon


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", ["names", "species", "traits", "looks", "foods", "numbers"])
def test_no_word_of_a_list_begins_another(name, language):
    words = sorted(getattr(word, language) for word in load_lexicon().words[name].values())
    assert len(set(words)) == len(words)
    assert not [(a, b) for a, b in itertools.pairwise(words) if b.startswith(a)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_first_match_of_a_mention_is_the_right_one(language):
    """The verifier relies on it: it looks at what follows the longest match, as in He and Henry."""
    for template in all_templates(language):
        first, *rest = template.pieces
        if isinstance(first, Mention):
            for a, b in itertools.combinations(sorted(texts_of(first)), 2):
                if b.startswith(a):
                    after = texts_of(rest[0])
                    assert not [text for text in after if text.startswith(b[len(a)])], (a, b)


def test_ids_and_words_are_unique_across_the_lists():
    """A name in a fact means one thing, whichever list it is from."""
    words = load_lexicon().words
    for name, entries in words.items():
        for other, others in words.items():
            if name < other:
                assert not entries.keys() & others.keys(), (name, other)


# ------------------------------------------------------------ one reading


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_templates_form_a_prefix_code_so_that_no_text_has_two_readings(language):
    assert list(conflicts(language)) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda source: source,  # the same text as another
        lambda source: source + " It was late.",  # another template and more
        lambda source: source.replace("{A}", "{B}"),
        lambda source: source.replace("went to the {P}", "[ran|went] to the {P}"),
    ],
)
def test_the_search_for_two_readings_finds_planted_ones(change, monkeypatch):
    monkeypatch.setattr(templates, "load_kinds", lambda: {"go_home": load_kinds()["sun"]})
    planted = compile_template("go_home", 99, change("{A} went to the {P}."), "en")
    monkeypatch.undo()
    assert list(conflicts("en", [*all_templates("en"), planted]))


def test_the_search_finds_two_units_that_together_read_like_one():
    first = compile_template("rest", 97, "{A} waited.", "en")
    second = compile_template("sing", 98, "{A} hummed.", "en")
    both = compile_template("rest", 99, "{A} waited and hummed.", "en")
    assert list(conflicts("en", [first, second])) == []
    assert [c.text for c in conflicts("en", [first, second, both])] == ["{} waited and hummed."] * 2


# ------------------------------------------------------------ mistakes are refused


@pytest.mark.parametrize(
    "kind, language, source, message",
    [
        ("drop", "en", "{A} dropped the {T}.", "does not tell P"),
        ("drop", "zh", "{A} 掉 了 {T} 。", "does not tell P"),
        ("rest", "en", "{A} and {X} rested.", "unknown placeholder {X}"),
        ("rest", "en", "{A.she} rested.", "unknown placeholder {A.she}"),
        ("rest", "zh", "{A.he} 坐 着 。", "unknown placeholder {A.he}"),
        ("sun", "en", "The {P.of} was warm.", "unknown placeholder {P.of}"),
    ],
)
def test_a_wrong_template_is_refused_by_name(kind, language, source, message):
    with pytest.raises(ValueError) as error:
        compile_template(kind, 0, source, language)
    assert message in str(error.value) and source in str(error.value)


def test_a_kind_without_templates_is_named(tmp_path, monkeypatch):
    told = read_yaml("english.yaml")
    del told["templates"]["trade"]
    monkeypatch.setattr(templates, "read_yaml", lambda name: told)
    with pytest.raises(ValueError, match=r"english\.yaml lacks templates for trade"):
        load_templates.__wrapped__("en")


@pytest.mark.parametrize("language", LANGUAGES)
def test_templates_end_a_sentence_and_close_their_quotes(language):
    stops = {"en": (".", "!", "?", '."', '!"', '?"'), "zh": ("。", "！", "？", "。”", "！”", "？”")}
    for template in all_templates(language):
        *start, last = template.pieces
        tails = [tail for tail in texts_of(last) if tail.strip('"”') or not start]
        tails = tails or [a + b for a in texts_of(start[-1]) for b in texts_of(last)]
        assert all(tail.endswith(stops[language]) for tail in tails), template.source
        text = template.source
        if language == "en":
            assert text.count('"') % 2 == 0, text
            assert text.isascii(), text
        else:
            assert text.count("“") == text.count("”"), text
            assert not re.search(r"[.,!?\"']", PLACEHOLDER.sub("", text)), text


# ------------------------------------------------------------ clean texts

DIRT = {
    "en": r"  | [,.!?;:]|[{}\[\]|]|\.\.|,,|,\.|[.!?] [a-z]|\b([Aa]) [aeiou]|^[^A-Z\"]|[^.!?\"]$"
    r"|\b(the the|a a|a the|the a|an an)\b",
    "zh": r"\s|[{}\[\]|]|[，。！？：、]{2}|[a-zA-Z]|[.,!?\"']|一一|的的|了了|在在|[^。！？”]$",
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_are_clean(language):
    """No stray blanks, brackets, doubled words or marks, and capitals where sentences begin."""
    for text in World().texts(400, language, seed=31):
        found = re.search(DIRT[language], text)
        assert not found, f"{found[0]!r} in {text}"
        if language == "en":
            assert text.count('"') % 2 == 0
        else:
            assert text.count("“") == text.count("”")


def words(text: str, language: str) -> int:
    """English words; Chinese words by longest match among the lemmas and the lexicon."""
    if language == "en":
        return len(text.split())
    return len(chinese_words().findall(text))


def chinese_words() -> re.Pattern:
    lists = load_lexicon().words.values()
    known = {w for entries in lists for e in entries.values() for w in (e.zh, e.measure) if w}
    known |= set(read_yaml("chinese.yaml")["lemmas"])
    return re.compile("|".join(sorted(known, key=len, reverse=True)) + r"|\w")


@pytest.mark.parametrize("language", LANGUAGES)
def test_stories_have_forty_to_two_hundred_words(language):
    sizes = {text: words(text, language) for text in World().texts(400, language, seed=32)}
    assert min(sizes.values()) >= 40, min(sizes, key=sizes.get)
    assert max(sizes.values()) <= 200, max(sizes, key=sizes.get)


def test_the_lexicon_is_read_with_the_plain_loader_too(monkeypatch):
    """Without the compiled one, which not every installation of PyYAML has."""
    monkeypatch.delattr(lexicon.yaml, "CSafeLoader", raising=False)
    assert read_yaml("lexicon.yaml")["version"] == load_lexicon().version
