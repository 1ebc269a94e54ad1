"""The commands of `permits`."""

import sys
from collections.abc import Sequence
from typing import Any, Final

import click
from click.shell_completion import get_completion_class
from rich.markup import escape

from permits.cli import options as option
from permits.cli.output import NOT_DONE, NotThere, answers, notes, print_json, printable, run, without_password
from permits.cli.views import as_object, as_tables, seconds
from permits.cli.watch import watch_pool
from permits.redis import PoolOperator, PoolView, find_pools

WHERE: Final = {
    "bash": 'eval "$(permits completion bash)"      # in ~/.bashrc',
    "zsh": 'eval "$(permits completion zsh)"       # in ~/.zshrc',
    "fish": "permits completion fish | source       # in ~/.config/fish/config.fish",
}
EPILOG: Final = """\b
Exit codes:
  0  done
  1  not done: you said no, or an internal error
  2  the command line is wrong
  3  there is no such pool or pod, or several match; for --new: the pool exists
  5  the store cannot be reached
  6  the output cannot be written
  130  stopped by Ctrl-C; `watch` ends with 0

\b
Try it, where PERMITS_REDIS_URL is set or with --redis redis://host:6379/0:
  permits show
  permits watch reports
  permits set reports --capacity 20
"""


class Permits(click.Group):
    """Hides passwords in error messages, in case an address is given in a wrong position."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as click has it
        """Run a command."""
        try:
            return super().invoke(ctx)
        except click.UsageError as exc:
            raise click.UsageError(without_password(exc.format_message()), exc.ctx) from None


@click.group(
    cls=Permits, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}, epilog=EPILOG
)
@click.version_option(package_name="chatbot-permits", prog_name="permits")
def main() -> None:
    """Show the holders and the queue of pools of permits, in the whole cluster, and change a pool while it runs."""


@main.command()
@option.options(option.any_pool, option.store, option.prefix, option.as_json)
def show(pool: str | None, url: str, prefix: str, *, as_json: bool) -> None:
    """Show POOL, or every pool in the store.

    Tables end after 20 rows. With --json there are all clients, and the first 100 tickets of the queue.
    """
    run(_show(pool, url, prefix, as_json=as_json))


@main.command()
@option.options(
    option.pool,
    click.option(
        "--refresh",
        type=click.FloatRange(min=0.1, max=3600),
        default=1.0,
        show_default=True,
        metavar="SECONDS",
        help="Interval between two readings.",
    ),
    option.store,
    option.prefix,
    option.as_json,
)
def watch(pool: str, refresh: float, url: str, prefix: str, *, as_json: bool) -> None:
    """Watch POOL until Ctrl-C.

    Without a terminal, and with --json, this prints one JSON object a line, as `show --json` does.
    """
    run(watch_pool(pool, url, prefix, refresh_seconds=refresh, as_json=as_json), interrupted=0)


@main.command("set")
@option.options(
    option.pool,
    click.option(
        "--capacity",
        type=click.IntRange(min=1, max=10_000_000),
        required=True,
        help="Capacity, in the whole cluster.",
    ),
    option.store,
    option.prefix,
    option.as_json,
)
def set_pool(pool: str, capacity: int, url: str, prefix: str, *, as_json: bool) -> None:
    """Change the capacity of POOL, for all pods at once.

    A higher capacity serves the queue at once. A lower one takes no permit away: no new ones are granted until enough
    are released. The change lasts until a pod starts with other settings than the pods before it.
    """
    run(_set(pool, capacity, url, prefix, as_json=as_json))


@main.command()
@option.options(option.pool, option.pod, option.store, option.prefix, option.as_json)
def refuse(pool: str, pod: str, url: str, prefix: str, *, as_json: bool) -> None:
    """Grant POD no permits of POOL any more.

    Its lease is not renewed. When the lease ends, its permits are free for other pods. This is for a pod that must not
    serve any more. POD is its name in `show`, or the beginning of it.
    """
    run(_refuse(pool, pod, url, prefix, as_json=as_json))


@main.command()
@option.options(option.pool, option.pod, option.store, option.prefix, option.as_json)
def allow(pool: str, pod: str, url: str, prefix: str, *, as_json: bool) -> None:
    """Undo `refuse`: grant permits of POOL to POD again.

    POD is the name of a refused pod in `show`, or the beginning of it.
    """
    run(_allow(pool, pod, url, prefix, as_json=as_json))


@main.command()
@option.options(
    option.pool,
    click.option("--new", "is_new", is_flag=True, help="Make a pool that has not been used before."),
    click.option("--yes", is_flag=True, help="Do not ask whether you are sure."),
    option.store,
    option.prefix,
    option.as_json,
)
def trust(pool: str, url: str, prefix: str, *, is_new: bool, yes: bool, as_json: bool) -> None:
    """End the learning of POOL: it grants permits again.

    After its store was restarted or emptied, a pool learns for a lease: pods declare the permits that they hold, and no
    new ones are granted. End that only when you know that every pod with permits has declared them. Otherwise more
    permits than the capacity may be held.

    With --new, before the first pod starts, make a pool that need not learn. The pool must not exist in the store.
    """
    run(_begin(pool, url, prefix, as_json=as_json) if is_new else _trust(pool, url, prefix, yes=yes, as_json=as_json))


@main.command(epilog="\b\nAdd one line to the start file of your shell:\n  " + "\n  ".join(WHERE.values()))
@click.argument("shell", type=click.Choice(list(WHERE)))
def completion(shell: str) -> None:
    """Print the script that completes commands and options in your shell."""
    kind = get_completion_class(shell)
    if kind is None:
        raise click.ClickException(f"this version of click cannot complete in {shell}")
    click.echo(kind(main, {}, "permits", "_PERMITS_COMPLETE").source())


async def _show(pool: str | None, url: str, prefix: str, *, as_json: bool) -> None:
    async with option.open_store(url) as redis:
        pools = [pool] if pool is not None else await find_pools(redis, prefix)
        if not pools:
            notes().print(escape(f"there are no pools with the prefix {prefix} in this store yet"))
        for number, name in enumerate(pools):
            view = await PoolOperator(name, redis, prefix).show()
            if as_json:
                print_json(as_object(name, view))
            else:
                answers().print(*[""] * bool(number), as_tables(name, view), sep="\n")


async def _set(pool: str, capacity: int, url: str, prefix: str, *, as_json: bool) -> None:
    async with option.open_store(url) as redis:
        operator = PoolOperator(pool, redis, prefix)
        before = (await operator.show()).state.capacity
        await operator.set_capacity(capacity)
        after = await operator.show()
    if as_json:
        print_json(as_object(pool, after))
        return
    held, waiting = after.state.held, after.state.waiting
    answers().print(f"{pool}: capacity {before} → {after.state.capacity}; held {held}, waiting {waiting}")


async def _refuse(pool: str, pod: str, url: str, prefix: str, *, as_json: bool) -> None:
    async with option.open_store(url) as redis:
        operator = PoolOperator(pool, redis, prefix)
        view = await operator.show()
        name = _the_one(pod, _names(view), f"no pod of {pool}")
        await operator.refuse(name)
        after = await operator.show()
    mine = [view for view in after.pods if view.name == name]
    if as_json:
        print_json({"pool": pool, "pod": name, "refused": True, "held": sum(view.held for view in mine)})
        return
    held, left = sum(view.held for view in mine), max((view.lease_left_seconds for view in mine), default=0.0)
    back = f"; {held} permits are free within {seconds(left)}" if held else ""
    answers().print(f"{pool}: {escape(printable(name))} is refused{back}")


async def _allow(pool: str, pod: str, url: str, prefix: str, *, as_json: bool) -> None:
    async with option.open_store(url) as redis:
        operator = PoolOperator(pool, redis, prefix)
        name = _the_one(pod, sorted((await operator.show()).refused), f"no refused pod of {pool}")
        await operator.allow(name)
    if as_json:
        print_json({"pool": pool, "pod": name, "refused": False})
    else:
        answers().print(f"{pool}: {escape(printable(name))} is allowed again")


async def _begin(pool: str, url: str, prefix: str, *, as_json: bool) -> None:
    async with option.open_store(url) as redis:
        operator = PoolOperator(pool, redis, prefix)
        await operator.begin()
        after = await operator.show()
    if as_json:
        print_json(as_object(pool, after))
    else:
        answers().print(f"{pool}: is new; its first pods grant at once, and seed its capacity")


async def _trust(pool: str, url: str, prefix: str, *, yes: bool, as_json: bool) -> int:
    async with option.open_store(url) as redis:
        operator = PoolOperator(pool, redis, prefix)
        view = await operator.show()
        left_seconds = view.state.learning_seconds
        if left_seconds > 0 and not yes and not _is_sure(pool, view):
            notes().print("nothing was changed")
            return NOT_DONE
        await operator.trust()
        after = await operator.show()
    if as_json:
        print_json(as_object(pool, after))
    elif left_seconds > 0:
        state = after.state
        answers().print(f"{pool}: grants again; held {state.held} of {state.capacity}, waiting {state.waiting}")
    else:
        answers().print(f"{pool}: is not learning; nothing to do")
    return 0


def _is_sure(pool: str, view: PoolView) -> bool:
    if not sys.stdin.isatty():
        raise click.UsageError(f"{pool} is learning, and there is no terminal to ask at; give --yes if you are sure")
    pods = len(view.pods)
    notes().print(
        f"{pool} learns for {seconds(view.state.learning_seconds)} more. {pods} pods have declared their permits. "
        "If a pod runs that has not, its permits would be granted twice."
    )
    return click.confirm("Grant again now?", err=True)


def _names(view: PoolView) -> Sequence[str]:
    return sorted({pod.name for pod in view.pods})


def _the_one(given: str, names: Sequence[str], nobody: str) -> str:
    """Return the name that was meant, by all of it or by its beginning.

    Raises:
        NotThere: there is none, or more than one.
    """
    if given in names:
        return given
    meant = [name for name in names if name.startswith(given)]
    if len(meant) == 1:
        return meant[0]
    if not meant:
        raise NotThere(f"{nobody} is called {given!r}; there are: {', '.join(names) or 'none'}")
    raise NotThere(f"{given!r} may be any of: {', '.join(meant)}")
