"""`permits watch`: shows a pool repeatedly."""

import asyncio

from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from permits.cli.options import open_store
from permits.cli.output import answers, print_json, printable
from permits.cli.views import as_object, as_tables
from permits.errors import PoolUnavailable
from permits.redis import PoolOperator, PoolUnknown


async def watch_pool(name: str, url: str, prefix: str, *, refresh_seconds: float, as_json: bool) -> None:
    """Show a pool until cancelled.

    Raises:
        PoolUnknown: there is no such pool.
        PoolUnavailable: the store cannot be asked. On a terminal only the first attempt raises it.
    """
    async with open_store(url) as redis:
        operator = PoolOperator(name, redis, prefix)
        if as_json or not answers().is_terminal:
            await _print_lines(operator, refresh_seconds)
        else:
            await _show_live(operator, refresh_seconds)


async def _print_lines(operator: PoolOperator, refresh_seconds: float) -> None:
    while True:
        print_json(as_object(operator.name, await operator.show()))
        await asyncio.sleep(refresh_seconds)


async def _show_live(operator: PoolOperator, refresh_seconds: float) -> None:
    shown = as_tables(operator.name, await operator.show())
    hint = Text(f"every {refresh_seconds:g} s; Ctrl-C ends", style="dim")
    with Live(Group(shown, "", hint), console=answers(), auto_refresh=False) as live:
        while True:
            live.refresh()
            await asyncio.sleep(refresh_seconds)
            try:
                shown = as_tables(operator.name, await operator.show())
                live.update(Group(shown, "", hint))
            except (PoolUnavailable, PoolUnknown) as exc:  # go on: the store may come back
                why = f"[red]{escape(printable(str(exc)))}; this is the last reading[/]"
                live.update(Group(why, shown, "", hint))
