"""Run the swarm against a system on this machine, and say whether it kept its promises: ./taskw load -- --help."""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from loadtest.drive import Drive
from loadtest.plans import PLANS, Plan
from loadtest.promises import Limits
from loadtest.stack import run_system
from loadtest.chaos import break_things


def main(argv: Sequence[str] | None = None) -> int:
    options = argparse.ArgumentParser()
    options.add_argument("plan")
    options.add_argument("--chaos", action="store_true")
    given = options.parse_args(argv)
    plan = PLANS[given.plan]
    folder = Path("data/load") / f"{plan.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder.mkdir(parents=True)
    limits = Limits(window=plan.window)
    with run_system(folder.absolute() / "servers", limits, typing_seconds=plan.typing_seconds) as system:
        print("stack is up", system.target)
        asyncio.run(
            Drive(target=system.target, plan=plan, folder=folder.absolute(),
                  breaker=(lambda write: break_things(system, write)) if given.chaos else None).run()
        )
    print(folder)
    return 0

if __name__ == "__main__":
    sys.exit(main())
