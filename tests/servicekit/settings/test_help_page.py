"""The help page: everything that can be set, on any terminal."""

import io
import sys
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from servicekit.settings import ByteSize, ServiceSettings, TokenSecret, load, load_all
from servicekit.settings.help_page import Row, help_page, rows


class TeaSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="TEA_")

    port: Annotated[int, Field(ge=0, le=65_535)] = Field(8000, description="where tea is served; 0 picks a free port")
    owner: str = Field(description="whose tea it is")
    steep_seconds: float = Field(180, gt=0, lt=3600, description="how long it steeps")
    pot_bytes: ByteSize = Field(1024 * 1024, ge=1024, description="size of the pot")
    mood: Literal["calm", "busy"] = Field("calm", description="how it is in here")
    open: bool = Field(True, description="whether anyone is served")
    guests: tuple[str, ...] = Field((), description="who is served")
    tables: tuple[int, ...] = Field((1, 2), description="which tables there are")
    store_dir: Path = Field(Path("data/tea"), description="where leaves are kept")
    till_url: SecretStr | None = Field(None, description="where money goes")
    pin: SecretStr = Field(SecretStr("hunter2"), description="opens the till")
    keys: tuple[TokenSecret, ...] = Field((), description="keys of the door")
    plain: int = 1


class CakeSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="CAKE_")

    slices: int = Field(8, ge=1, description="how many there are")


def page(columns: int, *, colour: bool = False) -> str:
    return help_page((TeaSettings, CakeSettings), "tea", "Makes tea.", colour=colour, columns=columns)


def test_each_variable_tells_its_default_as_it_would_be_set_its_meaning_its_unit_and_its_bounds() -> None:
    assert rows(TeaSettings) == [
        Row("TEA_PORT", "8000", "where tea is served; 0 picks a free port [0 to 65535]"),
        Row("TEA_OWNER", "(must be set)", "whose tea it is"),
        Row("TEA_STEEP_SECONDS", "180", "how long it steeps [seconds, more than 0, less than 3600]"),
        Row("TEA_POT_BYTES", "1MiB", "size of the pot [bytes, at least 1024]"),
        Row("TEA_MOOD", "calm", "how it is in here [one of calm busy]"),
        Row("TEA_OPEN", "true", "whether anyone is served [true or false]"),
        Row("TEA_GUESTS", "(empty)", "who is served"),
        Row("TEA_TABLES", "1,2", "which tables there are"),
        Row("TEA_STORE_DIR", "./data/tea", "where leaves are kept"),
        Row("TEA_TILL_URL", "(unset)", "where money goes"),
        Row("TEA_PIN", "(secret)", "opens the till"),
        Row("TEA_KEYS", "(unset)", "keys of the door"),
        Row("TEA_PLAIN", "1", ""),
    ]


def test_variables_of_a_class_come_before_those_of_its_bases() -> None:
    class MintTeaSettings(TeaSettings):
        leaves: int = 3

    class MintTeaHere(MintTeaSettings):
        """Declares nothing of its own."""

    assert [row.name for row in rows(MintTeaSettings)][:3] == ["TEA_LEAVES", "TEA_PORT", "TEA_OWNER"]
    assert rows(MintTeaHere) == rows(MintTeaSettings)


@pytest.mark.parametrize("columns", [1, 40, 80, 99, 100, 140, 1000])
def test_it_fits_the_terminal_and_leaves_nothing_out(columns: int) -> None:
    written = page(columns)
    assert max(map(len, written.splitlines())) <= max(40, min(columns, 140))
    words = written.split()
    assert [row.name for cls in (TeaSettings, CakeSettings) for row in rows(cls) if row.name not in words] == []
    assert "hunter2" not in written


def test_it_teaches_how_to_set_things_and_ends_with_an_example_and_the_exit_codes() -> None:
    written = " ".join(page(100).split())
    assert written.startswith("Usage: tea [--help] [--version] Makes tea. Settings")
    for taught in (".env", "the environment wins", "comma-separated", "16MiB", "TEA_PORT=8000 tea"):
        assert taught in written
    assert written.endswith("0 ended in good order, 1 failed or left work over, 2 wrong settings.")


@pytest.mark.parametrize("columns", [60, 120])
def test_colours_change_nothing_but_the_colour(columns: int) -> None:
    coloured = page(columns, colour=True)
    assert "\x1b[1mTEA_PORT\x1b[0m" in coloured
    for code in ("\x1b[0m", "\x1b[1m", "\x1b[2m"):
        coloured = coloured.replace(code, "")
    assert coloured == page(columns)


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("argv", [["--help"], ["-h"], ["--port", "1", "-h"]])
@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_whoever_asks_gets_it_even_when_settings_are_wrong(
    monkeypatch: pytest.MonkeyPatch, argv: list[str], no_color: str, coloured: bool
) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("TEA_PORT", "wrong")
    with pytest.raises(SystemExit) as left:
        load(TeaSettings, argv, prog="tea", description="Makes tea.")
    assert left.value.code == 0
    assert ("\x1b[1m" in screen.getvalue()) is coloured
    assert "whose tea it is" in screen.getvalue()


def test_several_services_share_one_page(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        load_all((TeaSettings, CakeSettings), ["--help"], prog="cafe", description="Tea and cake.")
    assert left.value.code == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.count("Usage:") == 1
    assert out.index("TEA_PORT") < out.index("CAKE_SLICES")
