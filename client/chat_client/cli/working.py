"""Progress on a terminal: the current activity, its duration, and the reply so far."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from chat_client.cli.output import notes, printable

FRAMES_PER_SECOND: Final = 8
SHOWN_AFTER_SECONDS: Final = 1.0
ROOM_LINES: Final = 3
BOT: Final = "bot  "


class Working:
    """Shows what is being done, for the length of a `with` block; on what is no terminal nothing.

    Attributes:
        doing: what it is.
        text: the reply as far as it has come.
        console: what is printed to it meanwhile appears above.
    """

    def __init__(self, doing: Callable[[], str]) -> None:
        self.doing = doing
        self.text = ""
        self._since = time.monotonic()
        self.console = console = notes()
        self._spinner = Spinner("dots" if console.encoding.startswith("utf") else "line")
        self._live = Live(
            self,
            console=console,
            transient=True,
            refresh_per_second=FRAMES_PER_SECOND,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._shows = console.is_interactive

    def __enter__(self) -> Self:
        if self._shows:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shows:
            self._live.stop()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the last lines of the reply, and what is being done below them."""
        if self.text:
            width = max(options.max_width - len(BOT) - 1, len(BOT))
            lines = Text(printable(self.text)).wrap(console, width)
            room = max(console.height - ROOM_LINES, 1)
            for number, line in list(enumerate(lines))[-room:]:
                yield Text.assemble((BOT if not number else " " * len(BOT), "bold cyan"), line)
        seconds = time.monotonic() - self._since
        took = f", {seconds:.0f} s" if seconds >= SHOWN_AFTER_SECONDS and "," not in self.doing() else ""
        self._spinner.update(
            text=Text(printable(f"{self.doing()}{took}"), style="dim", no_wrap=True, overflow="ellipsis")
        )
        yield self._spinner
