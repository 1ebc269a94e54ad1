"""The compiled matcher: it answers as a matcher that tries rule by rule, and does not look at what cannot match."""

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_service.bot.matcher import RuleMatcher
from chat_service.bot.patterns import Part, Pattern, Utterance, parse_pattern
from chat_service.bot.script import Rule
from frameproto import RequestKind

WORDS = ("a", "b", "c", "d", "e")
WORD = st.sampled_from(WORDS)
PART = st.one_of(
    WORD,
    st.lists(WORD, min_size=2, max_size=3).map("|".join),
    WORD.map(lambda word: f"{word}?"),
    st.just("*"),
)
PATTERN = st.tuples(st.lists(PART, min_size=1, max_size=4), st.booleans()).map(
    lambda found: " ".join([*found[0], *(["{gap}"] if found[1] else [])])
)
TEXT = st.lists(st.sampled_from((*WORDS, "A", "other")), max_size=6).map(", ".join)


def rule(name: str, patterns: Sequence[str] = (), *, needs_memory: bool = False) -> Rule:
    return Rule(name, RequestKind.TEXT, tuple(map(parse_pattern, patterns)), (name,), needs_memory=needs_memory)


def one_by_one(rules: Sequence[Rule], text: str, *, has_written: bool) -> tuple[Rule, Mapping[str, str]]:
    """The reference: every rule is tried, in their order."""
    said = Utterance.of(text)
    for each in rules:
        if each.needs_memory and not has_written:
            continue
        if not each.patterns:
            return each, {}
        for pattern in each.patterns:
            gaps = pattern.match(said)
            if gaps is not None:
                return each, gaps
    raise LookupError


@given(
    drawn=st.lists(st.tuples(st.lists(PATTERN, max_size=3), st.booleans()), max_size=8),
    text=TEXT,
    has_written=st.booleans(),
)
def test_it_chooses_as_if_every_rule_were_tried(
    drawn: list[tuple[list[str], bool]], text: str, *, has_written: bool
) -> None:
    rules = [rule(f"rule {n}", patterns, needs_memory=needs) for n, (patterns, needs) in enumerate(drawn)]
    rules.append(rule("anything else"))
    expected = one_by_one(rules, text, has_written=has_written)
    assert RuleMatcher(rules).choose(text, lambda _: has_written) == expected


def filled(parts: Sequence[Part], words: Sequence[str], at: int = 0) -> dict[str, tuple[int, int]] | None:
    """The reference of a pattern: gaps are tried from the shortest on, words that may be missing are there first."""
    if not parts:
        return {} if at == len(words) else None
    part, rest = parts[0], parts[1:]
    if part.is_gap:
        for end in range(at + bool(part.name), len(words) + 1):
            found = filled(rest, words, end)
            if found is not None:
                return {part.name: (at, end), **found} if part.name else found
        return None
    if at < len(words) and words[at] in part.words:
        found = filled(rest, words, at + 1)
        if found is not None:
            return found
    return filled(rest, words, at) if part.may_be_missing else None


@given(
    parts=st.lists(PART, min_size=1, max_size=5),
    gaps=st.lists(st.integers(0, 5), max_size=2, unique=True),
    text=TEXT,
)
def test_a_pattern_matches_as_if_every_way_were_tried(parts: list[str], gaps: list[int], text: str) -> None:
    for number, at in enumerate(gaps):
        parts.insert(at, ("{x}", "{y}")[number])
    pattern, said = parse_pattern(" ".join(parts)), Utterance.of(text)
    expected = filled(pattern.parts, said.keys)
    found = {name: said.between(*span) for name, span in expected.items()} if expected is not None else None
    assert pattern.match(said) == found


@pytest.mark.parametrize(
    ("pattern", "text", "gaps"),
    [
        ("a b", "a b", {}),
        ("a b", "a c b", None),
        ("a b", "a", None),
        ("a? b", "b", {}),
        ("a b?", "a b a", None),
        ("* a *", "b c a", {}),
        ("say {words}", "say", None),
        ("say {words}", "Say: good luck!", {"words": "good luck!"}),
        ("{x} and {y}", "a and b and c", {"x": "a", "y": "b and c"}),
    ],
)
def test_patterns_match_whole_texts(pattern: str, text: str, gaps: dict[str, str] | None) -> None:
    assert parse_pattern(pattern).match(Utterance.of(text)) == gaps


@pytest.mark.parametrize("count", [20, 300, 3000])
def test_a_text_is_compared_with_the_patterns_that_share_words_with_it(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = [rule(f"rule {n}", [f"* what is topic{n} *", f"tell me about topic{n}"]) for n in range(count)]
    matcher = RuleMatcher([*rules, rule("anything else")])
    compared: list[str] = []
    match = Pattern.match

    def counted(self: Pattern, said: Utterance) -> dict[str, str] | None:
        compared.append(self.source)
        return match(self, said)

    monkeypatch.setattr(Pattern, "match", counted)
    assert matcher.choose("Please, what is topic7?", lambda _: False)[0].name == "rule 7"
    assert matcher.choose("What is all this?", lambda _: False)[0].name == "anything else"
    assert compared == ["* what is topic7 *"]


def test_without_a_rule_that_always_applies_nothing_may_apply() -> None:
    with pytest.raises(LookupError):
        RuleMatcher([rule("a", ["a"])]).choose("b", lambda _: True)
