import pytest

from bench.words import word_errors


@pytest.mark.parametrize(
    ("said", "heard", "errors"),
    [
        ("What time is it?", "what time is it", 0),
        ("what time is it", "what dime is it", 1),
        ("what time is it", "what time is", 1),
        ("what time is it", "so what time is it now", 2),
        ("what time is it", "", 4),
        ("", "made up", 2),
    ],
)
def test_errors_are_counted_in_words(said: str, heard: str, errors: int) -> None:
    assert word_errors(said, heard)[0] == errors
