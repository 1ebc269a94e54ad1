"""How well speech was recognized: the word error rate."""


def words_of(text: str) -> list[str]:
    """Return the words of a text in small letters, without punctuation."""
    return "".join(char if char.isalnum() or char == "'" else " " for char in text.lower()).split()


def word_errors(said: str, heard: str) -> tuple[int, int]:
    """Return how many words are wrong, missing or too many, and how many were said (Levenshtein's distance)."""
    expected, found = words_of(said), words_of(heard)
    row = list(range(len(found) + 1))
    for number, word in enumerate(expected, 1):
        before, row[0] = row[0], number
        for at, other in enumerate(found, 1):
            before, row[at] = row[at], min(row[at] + 1, row[at - 1] + 1, before + (word != other))
    return row[-1], len(expected)
