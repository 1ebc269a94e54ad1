"""Packages the chart and pushes it to an OCI registry, with Helm's own library: no helm program is needed.

python -m devtools.charts package [--folder FOLDER] [--image-registry REGISTRY]
python -m devtools.charts push oci://REGISTRY/PATH [--folder FOLDER] [--plain-http]
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

import helm_python as helm

CHART: Final = Path(__file__).parents[1] / "charts/chatbot"
FOLDER: Final = Path(__file__).parents[1] / "data/charts"
REGISTRY_LINE: Final = '  registry: ""\n'


def package(folder: Path, image_registry: str = "") -> Path:
    """Write the chart as an archive into a folder.

    Args:
        folder: where it goes.
        image_registry: where the images are, as the default of `image.registry` in the archive.

    Returns:
        The archive.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        chart = Path(work, CHART.name)
        shutil.copytree(CHART, chart)
        values = chart / "values.yaml"
        text = values.read_text()
        if text.count(REGISTRY_LINE) != 1:
            raise RuntimeError(f"{values}: there is not one place for the registry of the images")
        values.write_text(text.replace(REGISTRY_LINE, f'  registry: "{image_registry}"\n'))
        return Path(helm.package(chart, destination=folder))


def push(archive: Path, remote: str, *, plain_http: bool = False) -> str:
    """Push an archive, and return what names it: REGISTRY/PATH/chatbot:VERSION.

    Args:
        archive: what `package` has written.
        remote: oci://REGISTRY/PATH; the name of the chart is put behind it.
        plain_http: whether the registry speaks HTTP, as one on this machine may.
    """
    pushed = helm.push(archive, remote, plain_http=plain_http)
    return str(pushed.get("ref", remote))


def newest(folder: Path) -> Path:
    """Return the archive that was written last."""
    archives = sorted(folder.glob("chatbot-*.tgz"), key=lambda path: path.stat().st_mtime)
    if not archives:
        raise SystemExit(f"there is no chart in {folder}: ./taskw chart:package")
    return archives[-1]


def main(arguments: list[str]) -> None:
    """Run a command."""
    parser = argparse.ArgumentParser(prog="python -m devtools.charts")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("package", "push"):
        command = commands.add_parser(name)
        command.add_argument("--folder", type=Path, default=FOLDER)
        if name == "package":
            command.add_argument("--image-registry", default="")
        else:
            command.add_argument("remote")
            command.add_argument("--plain-http", action="store_true")
    given = parser.parse_args(arguments)
    if given.command == "package":
        print(package(given.folder, given.image_registry))
    else:
        print(push(newest(given.folder), given.remote, plain_http=given.plain_http))


if __name__ == "__main__":
    main(sys.argv[1:])
