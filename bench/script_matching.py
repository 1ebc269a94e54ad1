"""What a reply of the script costs with 20 rules and with 300, most of which do not match: ./taskw bench:script."""

import argparse
import gc
import json
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench.machine import busy_share, processor
from bench.samples import Sample
from botkit import Memory, Turn
from chat_service.bot.patterns import Utterance
from chat_service.bot.script import Rule, load_script, parse_script
from chat_service.bot.scripted import ScriptedBot
from frameproto import RequestKind

MICROSECONDS: Final = 1_000_000
FEW, MANY = 20, 300
TEXTS: Final = (
    "what is the price of topic7",
    "tell me, please, about topic9",
    "say good luck",
    "this is not in the script",
)
LAST: Final = """
[[rule]]
name = "echo"
when = "say {words}"
say = "{words}"
[[rule]]
name = "anything else"
say = "I did not understand that."
[[rule]]
name = "voice"
kind = "voice"
say = "voice"
[[rule]]
name = "video"
kind = "video"
say = "video"
"""


@dataclass(frozen=True, slots=True)
class ScriptFigures:
    """Microseconds of CPU."""

    reply_of_few: Sample
    reply_of_many: Sample
    reply_of_default: Sample
    rule_by_rule_of_few: Sample
    rule_by_rule_of_many: Sample


def script_of(count: int) -> str:
    """Return a script of so many rules, each about another topic."""
    rules = "".join(
        f'[[rule]]\nname = "topic {n}"\nsay = "Topic {n} is a good one, {{client}}."\n'
        f'when = ["* what is the price of topic{n} *", "* tell me please? about topic{n} *"]\n'
        for n in range(count - 1)
    )
    return f'name = "Bench"\n[greetings]\n"00:00" = "Hello"\n{rules}{LAST}'


def measure(repeats: int, texts: int) -> ScriptFigures:
    """Measure in turns, each repetition all of it."""
    few, many = parse_script(script_of(FEW)), parse_script(script_of(MANY))
    bots = [ScriptedBot(few), ScriptedBot(many), ScriptedBot(load_script())]
    replies: list[list[float]] = [[], [], []]
    rule_by_rule: list[list[float]] = [[], []]
    for _ in range(repeats):
        for number, bot in enumerate(bots):
            replies[number].append(_reply_us(bot, texts))
        for number, script in enumerate((few, many)):
            rule_by_rule[number].append(_rule_by_rule_us(script.rules, max(1, texts // 10)))
    return ScriptFigures(*(Sample(tuple(values)) for values in (*replies, *rule_by_rule)))


def _reply_us(bot: ScriptedBot, texts: int) -> float:
    now = datetime.now(UTC)
    turns = [Turn(kind=RequestKind.TEXT, client_id="bench", local_time=now, text=text) for text in TEXTS]
    memory = Memory()
    began = time.process_time()
    for number in range(texts):
        bot.reply(turns[number % len(turns)], memory)
    return (time.process_time() - began) / texts * MICROSECONDS


def _rule_by_rule_us(rules: Sequence[Rule], texts: int) -> float:
    """Return what only the choice of a rule costs when all are tried in turn."""
    began = time.process_time()
    for number in range(texts):
        said = Utterance.of(TEXTS[number % len(TEXTS)])
        next(
            rule
            for rule in rules
            if rule.kind is RequestKind.TEXT
            and (not rule.patterns or any(pattern.match(said) is not None for pattern in rule.patterns))
        )
    return (time.process_time() - began) / texts * MICROSECONDS


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; return the exit status."""
    parser = argparse.ArgumentParser(prog="bench:script", description="Measure what a reply of the script costs.")
    parser.add_argument("--repeats", type=int, default=7, help="how often each measurement is taken")
    parser.add_argument("--texts", type=int, default=10_000, help="replies in one measurement")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured to this file")
    options = parser.parse_args(argv)
    gc.disable()
    busy = busy_share()
    found = measure(options.repeats, options.texts)
    rows = {
        f"a reply of {FEW} rules": found.reply_of_few,
        f"a reply of {MANY} rules": found.reply_of_many,
        "a reply of the default script": found.reply_of_default,
        f"the choice among {FEW} rules, one by one": found.rule_by_rule_of_few,
        f"the choice among {MANY} rules, one by one": found.rule_by_rule_of_many,
    }
    print(f"{processor()}, Python {platform.python_version()}; median ± half the range, CPU µs; others used {busy:.0%}")
    for name, sample in rows.items():
        print(f"{name:42} {sample.median:8.1f} ±{sample.spread:.0%}")
    ratio = found.reply_of_many.median / found.reply_of_few.median
    print(f"{f'{MANY} rules, times {FEW}':42} {ratio:8.2f}")
    if options.json:
        figures = {name: sample.as_dict() for name, sample in rows.items()}
        options.json.write_text(json.dumps({"cpu_us": figures, "ratio": ratio}, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
