"""`chat-client export` and `import`: all of a client, out of one installation and into another."""

from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from chat_client.cli import options as option
from chat_client.cli.output import answers, complain, notes, number_of, run, size_of
from chat_client.errors import FileError
from chat_client.files import free_name
from chat_client.history import History
from chat_client.history_http import HistoryHttp
from chat_client.history_records import Media, Message

IMPORT_EPILOG = """\b
For example, from one installation into another:
  chat-client export --media --client-id anna --history https://old.example
  chat-client import anna-history --history https://new.example \\
    --ingest-token-file ingest.token --token-file anna.token
"""


@click.command()
@option.options(
    option.client_id,
    click.option("--media", is_flag=True, help="Save voices, videos and pictures as well, all in one folder."),
    click.option(
        "--output",
        "-o",
        type=click.Path(path_type=Path),
        help="Name of the new file, or with --media of the folder, which may be there; by default "
        "CLIENT_ID-history.ndjson or CLIENT_ID-history, in this folder.",
    ),
    option.history_address,
    option.token,
)
def export(*, client_id: str, media: bool, output: Path | None, **rest: Any) -> None:  # noqa: ANN401 - passed on
    """Save everything that history has of you: conversations and messages, one JSON object a line.

    With --media it is a folder with the media and a page to read, index.html. Said again, it fetches what is new.
    `import` reads the folder into another installation.
    """
    stem = client_id.replace("/", "_").replace(":", "_").lstrip(".") + "-history"
    if media:
        run(_export_folder(client_id, output or Path(stem), **rest))
    else:
        run(_export_file(client_id, output or free_name(Path(), stem, ".ndjson"), **rest))


@click.command("import", epilog=IMPORT_EPILOG)
@option.options(
    click.argument("folder", type=click.Path(exists=True, path_type=Path)),
    click.option(
        "--ingest-token-file",
        "ingest_token",
        callback=option.token_of_file,
        type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path),
        help="A file with a token that has the scope ingest, where the server asks for one.",
    ),
    option.history_address,
    option.token,
)
def import_(**rest: Any) -> None:  # noqa: ANN401
    """Read a FOLDER of `export --media` into an installation.

    Ids stay as they are, and what is there already stays, too: it may be said again. Exchanges are handed in as the
    chat service does it. Where tokens are asked for, that needs one with the scope ingest (`chat-client token
    --ingest`); the token of the client sets titles, and deletes what was deleted.
    """
    run(_import(**rest))


async def _export_file(client_id: str, path: Path, *, history_url: str, token: str | None) -> None:
    async with History(history_url, token=token) as service:
        await service.export(client_id, path)
    answers().print(escape(str(path)))


async def _export_folder(client_id: str, folder: Path, *, history_url: str, token: str | None) -> int:
    from chat_client.archive import write_archive  # noqa: PLC0415 - only where it is needed

    with notes().status("exporting") as status:

        def show(message: Message, media: Media) -> None:
            status.update(f"{media.part} of {message.id}, {size_of(media.size_bytes)}")

        async with History(history_url, token=token) as service:
            contents = await write_archive(service, client_id, folder, show)
    notes().print(
        f"{number_of(contents.sessions, 'conversation')}, {number_of(contents.messages, 'message')}, "
        f"{number_of(contents.media - contents.missing, 'medium', 'media')}"
    )
    answers().print(escape(str(folder)))
    if contents.missing:
        complain(f"history has lost {number_of(contents.missing, 'medium', 'media')}; all else is in the folder")
        return FileError.exit_code
    return 0


async def _import(*, folder: Path, ingest_token: str | None, history_url: str, token: str | None) -> int:
    from chat_client.archive_import import Import  # noqa: PLC0415 - as above

    with notes().status("importing") as status:
        async with HistoryHttp(history_url, token=ingest_token) as ingest, History(history_url, token=token) as history:
            imported = await Import(folder, ingest, history).run(
                lambda done: status.update(f"{number_of(done, 'exchange')} so far")
            )
    answers().print(f"{number_of(imported.stored, 'exchange')} imported, {imported.present} there already")
    trouble = {
        "had been deleted or erased there, and are not taken again": imported.erased,
        "lack media, which are not in the folder": imported.incomplete,
        "cannot be kept there": imported.refused,
    }
    for what, how_many in trouble.items():
        if how_many:
            complain(f"{number_of(how_many, 'exchange')}: {what}")
    return FileError.exit_code if any(trouble.values()) else 0
