"""Times, dates and lengths in English words, the same whatever the locale of the machine."""

from datetime import date, datetime
from typing import Final

from botkit import AudioInfo

WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
NUMBERS: Final = (
    *("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
)
MINUTE: Final = 60


def clock(moment: datetime) -> str:
    """Return a time of day, e.g. `09:05`."""
    return f"{moment.hour:02}:{moment.minute:02}"


def weekday(day: date) -> str:
    """Return e.g. `Monday`."""
    return WEEKDAYS[day.weekday()]


def full_date(day: date) -> str:
    """Return e.g. `1 June 2026`."""
    return f"{day.day} {MONTHS[day.month - 1]} {day.year}"


def length(seconds: float) -> str:
    """Return e.g. `three seconds`, `one minute and 20 seconds`, `less than a second`."""
    whole = round(seconds)
    if whole < 1:
        return "less than a second"
    minutes, rest = divmod(whole, MINUTE)
    return " and ".join(counted(amount, unit) for amount, unit in ((minutes, "minute"), (rest, "second")) if amount)


def heard(voice: AudioInfo) -> str:
    """Return what could be listened to: `all of it`, or how it is with a note that is silent or in part damaged."""
    if voice.silent:
        return "all of it, and it is silent" if voice.whole else "what is left of it, and it is silent"
    return "all of it" if voice.whole else "what could be read of it, for parts are missing or damaged"


def counted(amount: int, unit: str) -> str:
    """Return e.g. `one minute`, `twelve minutes`, `13 minutes`."""
    number = NUMBERS[amount] if amount < len(NUMBERS) else str(amount)
    return f"{number} {unit}" if amount == 1 else f"{number} {unit}s"
