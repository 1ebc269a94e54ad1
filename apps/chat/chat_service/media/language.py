"""Which language a text is in, guessed by its letters and its most common words, for the choice of a voice."""

import re
from collections import Counter
from typing import Final

WORD: Final = re.compile(r"[^\W\d_]+")
LEAST_WORDS: Final = 2  # that are known; one alone may be a loan
LETTERS: Final = (  # the first that has most letters of a text
    ("ja", re.compile("[\u3040-\u30ff]")),
    ("ko", re.compile("[\uac00-\ud7af\u1100-\u11ff]")),
    ("zh", re.compile("[\u4e00-\u9fff]")),
    ("ru", re.compile("[\u0400-\u04ff]")),
    ("el", re.compile("[\u0370-\u03ff]")),
    ("ar", re.compile("[\u0600-\u06ff]")),
    ("he", re.compile("[\u0590-\u05ff]")),
    ("hi", re.compile("[\u0900-\u097f]")),
    ("th", re.compile("[\u0e00-\u0e7f]")),
)
COMMON: Final = {
    "en": "the and is you it of to in that this for with are not have what your was my can i we at from",
    "de": "der die das und ist nicht ich sie es ein eine zu mit für auf wie was den wir uhr dein ihr im von",
    "fr": "le la les et est vous je il elle un une des de pour que qui pas dans avec ce votre du au sur",
    "es": "el la los las y es usted yo un una de para que no en con por su está qué del como hoy",
    "it": "il lo la gli e è che non un una di per con in sono hai tuo questo della come oggi le",
    "pt": "o a os as e é você eu um uma de para que não em com por seu está do da como hoje",
    "nl": "de het een en is niet ik je u van voor met op dat wat zijn hoe hebt uur uw deze",
    "pl": "i w nie się na to jest że z do jak co ja ty jestem dzień dla po tak",
    "sv": "och är det att i en ett jag du inte som på för med vad har hur den av",
}
LANGUAGES: Final = {
    word: [language for language, common in COMMON.items() if word in common.split()]
    for words in COMMON.values()
    for word in words.split()
}
"""The languages that have a common word, by the word."""


def guess_language(text: str) -> str:
    """Return the language as ISO 639-1 has it; empty when it cannot be told."""
    words = WORD.findall(text.lower())
    letters = "".join(words)
    for language, pattern in LETTERS if not letters.isascii() else ():
        share = len(pattern.findall(letters)) * (1 if language != "ja" else 3)  # Japanese has Chinese letters, too
        if share > len(letters) / 2:
            return language
    counts = Counter(language for word in words for language in LANGUAGES.get(word, ()))
    (best, found), (_, second), *_ = [*counts.most_common(), ("", 0), ("", 0)]
    return best if found >= LEAST_WORDS and found > second else ""
