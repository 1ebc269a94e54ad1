"""Which files are accepted as voice and as video, and how those are refused that are not."""

from chat_service.media.base import MediaError
from frameproto import RequestKind
from frameproto.media import OTHER_FORMATS, OWN_FORMATS, FileFormat


def accepted(kind: RequestKind, *, other_formats: bool) -> tuple[FileFormat, ...]:
    """Return the formats that a request of this kind may be in, the protocol's own first.

    Raises:
        ValueError: requests of this kind are no files.
    """
    if kind.part is None:
        raise ValueError(f"a {kind.message_kind} is no file")
    return (OWN_FORMATS[kind.part], *(OTHER_FORMATS[kind.part] if other_formats else ()))


def check_format(found: FileFormat | None, kind: RequestKind, *, other_formats: bool) -> FileFormat:
    """Return the format as which a file is to be read; an unknown one is tried as the protocol's own.

    Raises:
        MediaError: `media_unreadable`; the file is of another format, which the message names.
    """
    formats = accepted(kind, other_formats=other_formats)
    if found is None:
        return formats[0]
    if found not in formats:
        raise MediaError(
            "media_unreadable",
            f"this file is {found.label}, which is not accepted as a {kind.description}; send {in_words(formats)}",
        )
    return found


def in_words(formats: tuple[FileFormat, ...]) -> str:
    """Return e.g. `MP3, WAV or WebM`."""
    *others, last = [each.label for each in formats]
    return f"{', '.join(others)} or {last}" if others else last
