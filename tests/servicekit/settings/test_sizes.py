"""Sizes in bytes as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servicekit.settings.sizes import format_byte_size, parse_byte_size


@pytest.mark.parametrize(
    ("written", "size_bytes"),
    [
        ("0", 0),
        ("16777216", 16_777_216),
        ("16MiB", 16 * 1024**2),
        ("16 MiB", 16 * 1024**2),
        (" 16mib ", 16 * 1024**2),
        ("16MB", 16_000_000),
        ("64kB", 64_000),
        ("64KiB", 65_536),
        ("1GiB", 1024**3),
        ("2tb", 2 * 1000**4),
        ("7B", 7),
    ],
)
def test_units_are_decimal_or_binary_and_case_does_not_matter(written: str, size_bytes: int) -> None:
    assert parse_byte_size(written) == size_bytes


@pytest.mark.parametrize(
    "written",
    ["", "MiB", "-1", "1.5MiB", "16M", "16 MiB of it", "16MiB;32", "16XB", "1e6", "\u0663", "1_000", "9" * 5000],
)
def test_what_is_not_a_size_is_refused_with_examples_of_what_is(written: str) -> None:
    with pytest.raises(ValueError, match="must be a size in bytes such as 16777216, 16MiB or 64kB"):
        parse_byte_size(written)


@pytest.mark.parametrize("value", [12, None, 1.5])
def test_what_is_not_a_string_is_left_to_the_type(value: object) -> None:
    assert parse_byte_size(value) is value


@pytest.mark.parametrize(
    ("size_bytes", "written"),
    [(0, "0"), (1000, "1000"), (1024, "1KiB"), (1536, "1536"), (16 * 1024**2, "16MiB"), (1024**4, "1TiB")],
)
def test_sizes_are_written_the_short_way(size_bytes: int, written: str) -> None:
    assert format_byte_size(size_bytes) == written


@given(st.integers(min_value=0, max_value=1 << 60))
def test_what_is_written_is_read_back(size_bytes: int) -> None:
    assert parse_byte_size(format_byte_size(size_bytes)) == size_bytes
