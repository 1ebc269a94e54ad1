"""Which rule of a script applies to a text, found without a look at the rules that cannot.

Every pattern is listed under the words of one of its parts: a text that has none of these words cannot match it. Of its
parts that one is taken whose words the other patterns use least. So the cost of a text grows with the patterns that
share words with it, and not with the number of rules. The order of the rules decides as if they were tried one by one.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Final

from chat_service.bot.patterns import Part, Pattern, Utterance
from chat_service.bot.script import Rule

Candidate = tuple[int, Rule, Pattern | None]
"""The place in the order of a script, a rule, and one of its patterns; None: the rule applies to any text."""


_PLACE: Final = itemgetter(0)


class RuleMatcher:
    """The rules for some kind of message, in the order in which they are tried.

    Args:
        rules: for this kind; the last always applies.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        candidates: list[Candidate] = []
        for rule in rules:
            candidates += [(len(candidates) + number, rule, pattern) for number, pattern in enumerate(rule.patterns)]
            if not rule.patterns:
                candidates.append((len(candidates), rule, None))
        uses = Counter(
            word for _, _, pattern in candidates if pattern for word in frozenset().union(*map(_needed, pattern.parts))
        )
        self._anywhere: list[Candidate] = []
        self._by_word: dict[str, list[Candidate]] = {}
        for candidate in candidates:
            needed = [part.words for part in candidate[2].parts if part.is_needed] if candidate[2] else []
            if not needed:
                self._anywhere.append(candidate)
                continue
            for word in min(needed, key=lambda words: sum(uses[word] for word in words)):
                self._by_word.setdefault(word, []).append(candidate)

    def choose(self, text: str, applies: Callable[[Rule], bool]) -> tuple[Rule, Mapping[str, str]]:
        """Return the first rule that applies to a text, and what stands in the gaps of its pattern.

        Args:
            text: what the client wrote, or what was recognized of what it said; empty when nothing was.
            applies: whether a rule that depends on what was sent before has its turn.

        Raises:
            LookupError: none applies; a script that was checked has one that always does.
        """
        said = Utterance.of(text)
        candidates = list(self._anywhere)
        for word in said.places:
            candidates += self._by_word.get(word, ())
        candidates.sort(key=_PLACE)
        for _, rule, pattern in candidates:
            if rule.needs_speech and not text:
                continue
            if (rule.needs_memory or rule.needs_sent) and not applies(rule):
                continue
            if pattern is None:
                return rule, {}
            gaps = pattern.match(said)
            if gaps is not None:
                return rule, gaps
        raise LookupError("no rule applies")


def _needed(part: Part) -> frozenset[str]:
    return part.words if part.is_needed else frozenset()
