"""Settings: typed and bounded, every mistake one clear line, all of them at once, and no secret ever shown."""

import os
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Annotated, Literal, Self

import pytest
from pydantic import AnyHttpUrl, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import SettingsConfigDict

from servicekit.settings import ByteSize, ServiceSettings, TokenSecret, load, load_all

LONG_SECRET = "what-nobody-must-ever-see-on-a-screen"


class Leaf(Enum):
    GREEN = "green"
    BLACK = "black"


class TeaSettings(ServiceSettings):
    """The settings of a tea kitchen."""

    model_config = SettingsConfigDict(env_prefix="TEA_")

    port: Annotated[int, Field(ge=0, le=65_535)] = Field(8000, description="where tea is served")
    steep_seconds: float = Field(180, gt=0, lt=3600, description="how long it steeps")
    pot_bytes: ByteSize = Field(1024 * 1024, ge=1024, description="size of the pot")
    leaf: Leaf = Field(Leaf.GREEN, description="what is in it")
    mood: Literal["calm", "busy"] = Field("calm", description="how it is in here")
    open: bool = Field(True, description="whether anyone is served")
    guests: tuple[str, ...] = Field((), description="who is served")
    tables: tuple[int, ...] = Field((1, 2), description="which tables there are")
    shop_url: AnyHttpUrl | None = Field(None, description="where leaves are bought")
    store_dir: Path = Field(Path("data/tea"), description="where leaves are kept")
    name: str = Field("tea", min_length=2, max_length=10, description="the name above the door")
    till_url: SecretStr | None = Field(None, description="where money goes")
    keys: tuple[TokenSecret, ...] = Field((), description="keys of the door")

    @model_validator(mode="after")
    def _enough_tables(self) -> Self:
        if len(self.guests) > len(self.tables):
            raise ValueError("TEA_TABLES must be as many as TEA_GUESTS")
        return self


class CakeSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="CAKE_")

    owner: str = Field(description="whose cake it is")
    slices: int = Field(8, ge=1, description="how many there are")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, without variables of tea and cake."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("TEA_", "CAKE_"))]:
        monkeypatch.delenv(name)
    return tmp_path


def tea(monkeypatch: pytest.MonkeyPatch, **variables: str) -> TeaSettings:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return load(TeaSettings, [], prog="tea", description="Makes tea.")


def complaints(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **variables: str) -> list[str]:
    """What the program says before it leaves with exit code 2."""
    with pytest.raises(SystemExit) as left:
        tea(monkeypatch, **variables)
    assert left.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    *said, last = err.splitlines()
    assert last == "tea: cannot start with these settings; see --help"
    return said


@pytest.mark.parametrize(
    ("variable", "value", "field", "meant"),
    [
        ("TEA_PORT", "0", "port", 0),
        ("tea_port", "65535", "port", 65535),
        ("TEA_PORT", "", "port", 8000),
        ("TEA_STEEP_SECONDS", "0.5", "steep_seconds", 0.5),
        ("TEA_POT_BYTES", "2 MiB", "pot_bytes", 2 * 1024**2),
        ("TEA_POT_BYTES", "4096", "pot_bytes", 4096),
        ("TEA_LEAF", "black", "leaf", Leaf.BLACK),
        ("TEA_MOOD", "busy", "mood", "busy"),
        ("TEA_OPEN", "no", "open", False),
        ("TEA_GUESTS", " anna, bert ,", "guests", ("anna", "bert")),
        ("TEA_TABLES", "7", "tables", (7,)),
        ("TEA_SHOP_URL", "https://tea.example/", "shop_url", AnyHttpUrl("https://tea.example/")),
        ("TEA_STORE_DIR", "/srv/tea", "store_dir", Path("/srv/tea")),
        ("TEA_KEYS", LONG_SECRET, "keys", (SecretStr(LONG_SECRET),)),
    ],
)
def test_variables_are_read_by_their_type(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, field: str, meant: object
) -> None:
    assert getattr(tea(monkeypatch, **{variable: value}), field) == meant


def test_without_variables_defaults_count() -> None:
    settings = load(TeaSettings, [], prog="tea", description="")
    assert (settings.port, settings.tables, settings.till_url) == (8000, (1, 2), None)


def test_settings_do_not_change_once_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError):
        tea(monkeypatch).port = 1


@pytest.mark.parametrize(
    ("variable", "value", "line"),
    [
        ("TEA_PORT", "many", 'TEA_PORT: must be a whole number (got "many")'),
        ("TEA_PORT", "1.5", 'TEA_PORT: must be a whole number (got "1.5")'),
        ("TEA_PORT", "70000", 'TEA_PORT: must be at most 65535 (got "70000")'),
        ("TEA_PORT", "-1", 'TEA_PORT: must be at least 0 (got "-1")'),
        ("TEA_STEEP_SECONDS", "0", 'TEA_STEEP_SECONDS: must be more than 0 (got "0")'),
        ("TEA_STEEP_SECONDS", "3600", 'TEA_STEEP_SECONDS: must be less than 3600 (got "3600")'),
        ("TEA_STEEP_SECONDS", "long", 'TEA_STEEP_SECONDS: must be a number (got "long")'),
        ("TEA_STEEP_SECONDS", "nan", 'TEA_STEEP_SECONDS: must be a finite number (got "nan")'),
        ("TEA_STEEP_SECONDS", "inf", 'TEA_STEEP_SECONDS: must be a finite number (got "inf")'),
        (
            "TEA_POT_BYTES",
            "1.5MiB",
            'TEA_POT_BYTES: must be a size in bytes such as 16777216, 16MiB or 64kB (got "1.5MiB")',
        ),
        ("TEA_POT_BYTES", "1B", 'TEA_POT_BYTES: must be at least 1024 (got "1")'),
        ("TEA_LEAF", "oak", 'TEA_LEAF: must be one of green, black (got "oak")'),
        ("TEA_MOOD", "sad", 'TEA_MOOD: must be one of calm, busy (got "sad")'),
        ("TEA_OPEN", "maybe", 'TEA_OPEN: must be true or false (got "maybe")'),
        ("TEA_TABLES", "1,x", 'TEA_TABLES: must be a whole number (got "x")'),
        ("TEA_SHOP_URL", "shop", 'TEA_SHOP_URL: must be an address such as http://host:port (got "shop")'),
        (
            "TEA_SHOP_URL",
            "ftp://anna:hunter2@shop/",
            'TEA_SHOP_URL: must be an address that begins with http or https (got "ftp://***@shop/")',
        ),
        ("TEA_NAME", "x", 'TEA_NAME: must have at least 2 characters (got "x")'),
        ("TEA_NAME", "x" * 99, f'TEA_NAME: must have at most 10 characters (got "{"x" * 80}...")'),
        ("TEA_GUESTS", "a,b,c", "TEA_TABLES must be as many as TEA_GUESTS"),
    ],
)
def test_a_mistake_is_one_line_in_the_words_of_who_made_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str, value: str, line: str
) -> None:
    assert complaints(monkeypatch, capsys, **{variable: value}) == [line]


@pytest.mark.parametrize("value", ["two\nlines", "a\rb", "\x1b[31mred"], ids=["line feed", "carriage return", "escape"])
def test_a_value_cannot_write_lines_or_colours_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: str
) -> None:
    (line,) = complaints(monkeypatch, capsys, TEA_MOOD=value)
    assert line.isprintable()
    assert line.startswith('TEA_MOOD: must be one of calm, busy (got "')


def test_all_mistakes_are_told_at_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    said = complaints(monkeypatch, capsys, TEA_PORT="x", TEA_OPEN="x", TEA_TABLES="x,y,3")
    assert [line.partition(":")[0] for line in said] == ["TEA_PORT", "TEA_OPEN", "TEA_TABLES"]


@pytest.mark.parametrize("secret", ["hunter2", f"{LONG_SECRET},hunter2", "é" * 15])
def test_a_secret_is_not_shown_when_it_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], secret: str
) -> None:
    (line,) = complaints(monkeypatch, capsys, TEA_KEYS=secret)
    assert line.startswith("TEA_KEYS: a token secret must be at least 32 bytes long")
    assert not any(part in line for part in secret.split(","))


def test_a_secret_is_not_shown_when_it_is_right(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tea(monkeypatch, TEA_KEYS=LONG_SECRET, TEA_TILL_URL="bank://hunter2@vault")
    assert "hunter2" not in f"{settings!r} {settings} {settings.model_dump_json()}"
    assert LONG_SECRET not in f"{settings!r} {settings} {settings.model_dump_json()}"
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("variable", "value", "warning"),
    [
        ("TEA_PROT", "1", "warning: TEA_PROT is not a setting; did you mean TEA_PORT?"),
        ("tea_prot", "1", "warning: tea_prot is not a setting; did you mean TEA_PORT?"),
        ("TEA_XYZZY", "1", "warning: TEA_XYZZY is not a setting"),
        (
            "TEA_PORT",
            "tcp://10.0.0.7:80",
            "warning: TEA_PORT is ignored: its value is a link that Kubernetes injects for a Service",
        ),
        ("TEA_SERVICE_HOST", "10.0.0.7", ""),
        ("TEA_SERVICE_PORT_HTTP", "80", ""),
        ("TEA_PORT_80_TCP_ADDR", "10.0.0.7", ""),
        ("TEA_PORT_80_TCP", "tcp://10.0.0.7:80", ""),
        ("TEAPOT", "1", ""),
    ],
)
def test_a_variable_that_cannot_be_meant_is_warned_about(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str, value: str, warning: str
) -> None:
    assert tea(monkeypatch, **{variable: value}).port == 8000
    assert capsys.readouterr().err == (f"{warning}\n" if warning else "")


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_line_ending_at_the_end_of_a_variable_is_not_part_of_it(monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    values = {"TEA_PORT": "7", "TEA_NAME": "green", "TEA_TILL_URL": "till://x", "TEA_KEYS": LONG_SECRET, "TEA_MOOD": ""}
    settings = tea(monkeypatch, **{name: f"{value}{ending}" for name, value in values.items()})
    assert (settings.port, settings.name, settings.mood) == (7, "green", "calm")
    assert (settings.till_url, settings.keys) == (SecretStr("till://x"), (SecretStr(LONG_SECRET),))


def test_variables_of_libraries_lose_their_line_ending_too(monkeypatch: pytest.MonkeyPatch) -> None:
    tea(monkeypatch, AWS_SECRET_ACCESS_KEY="a key\n", AWS_ACCESS_KEY_ID="two lines\n\n")
    assert os.environ["AWS_SECRET_ACCESS_KEY"] == "a key"
    assert os.environ["AWS_ACCESS_KEY_ID"] == "two lines\n"


def test_a_file_of_settings_counts_less_than_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], elsewhere: Path
) -> None:
    lines = ["TEA_PORT=1", "TEA_NAME='däy'  # comment", "TEA_PROT=5", "CAKE_OWNER=anna", "TEA_TABLES="]
    (elsewhere / ".env").write_text("\n".join(lines), encoding="utf-8")
    settings = tea(monkeypatch, TEA_PORT="2")
    assert (settings.port, settings.name, settings.tables) == (2, "däy", (1, 2))
    assert capsys.readouterr().err == "warning: TEA_PROT is not a setting; did you mean TEA_PORT?\n"


def test_a_file_of_settings_may_begin_with_a_byte_order_mark(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], elsewhere: Path
) -> None:
    (elsewhere / ".env").write_text("TEA_PORT=7\nTEA_PROT=5\n", encoding="utf-8-sig")
    assert tea(monkeypatch).port == 7
    assert capsys.readouterr().err == "warning: TEA_PROT is not a setting; did you mean TEA_PORT?\n"


def test_a_mistake_in_the_file_is_told_like_any_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], elsewhere: Path
) -> None:
    (elsewhere / ".env").write_text("TEA_PORT=x\n")
    assert complaints(monkeypatch, capsys) == ['TEA_PORT: must be a whole number (got "x")']


def test_a_file_that_is_not_text_is_one_mistake(capsys: pytest.CaptureFixture[str], elsewhere: Path) -> None:
    (elsewhere / ".env").write_bytes(b"TEA_PORT=\xff\n")
    with pytest.raises(SystemExit) as left:
        load_all((TeaSettings, CakeSettings), [], prog="cafe", description="")
    assert left.value.code == 2
    assert capsys.readouterr().err.splitlines()[:-1] == [".env: must be text in UTF-8"]


def test_a_file_that_cannot_be_read_is_one_mistake_that_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], elsewhere: Path
) -> None:
    def denied(*_: object) -> None:  # the super user could read it
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(import_module("servicekit.settings.load"), "dotenv_values", denied)
    with pytest.raises(SystemExit) as left:
        load_all((TeaSettings, CakeSettings), [], prog="cafe", description="")
    assert left.value.code == 2
    (line, _) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{elsewhere}/.env: cannot be read: Permission denied (make it readable, ")


def test_several_services_tell_their_mistakes_together(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TEA_PORT", "x")
    with pytest.raises(SystemExit) as left:
        load_all((TeaSettings, CakeSettings), [], prog="cafe", description="")
    assert left.value.code == 2
    assert capsys.readouterr().err.splitlines() == [
        'TEA_PORT: must be a whole number (got "x")',
        "CAKE_OWNER: must be set (whose cake it is)",
        "cafe: cannot start with these settings; see --help",
    ]


def test_several_services_are_read_each_with_its_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEA_PORT", "1")
    monkeypatch.setenv("CAKE_OWNER", "anna")
    made, cake = load_all((TeaSettings, CakeSettings), [], prog="cafe", description="")
    assert (made.port, cake.owner) == (1, "anna")


@pytest.mark.parametrize("argv", [["--port"], ["serve"], ["-x", "--no"]])
def test_arguments_are_refused_with_a_hint(capsys: pytest.CaptureFixture[str], argv: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        load(TeaSettings, argv, prog="tea", description="")
    assert left.value.code == 2
    line = f'tea: unknown argument "{argv[0]}": settings are environment variables, see --help\n'
    assert capsys.readouterr() == ("", line)


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        load(TeaSettings, ["--version"], prog="tea", description="", version="1.2.3")
    assert (left.value.code, capsys.readouterr().out) == (0, "tea 1.2.3\n")
