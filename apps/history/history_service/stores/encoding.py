"""The encoding of times, messages and words that all stores share."""

from datetime import datetime, timedelta
from typing import Any, Final

from frameproto import MediaPart, MessageKind
from frameproto.kinds import Outcome
from history_service.model import EPOCH, MessageContent, StoredMedia
from history_service.tokenizer import tokenize

MICROSECOND: Final = timedelta(microseconds=1)


def microseconds(moment: datetime) -> int:
    """Return a moment as microseconds since 1970."""
    return (moment - EPOCH) // MICROSECOND


def moment(since_1970: int) -> datetime:
    """Return microseconds since 1970 as a moment."""
    return EPOCH + timedelta(microseconds=since_1970)


def content_document(side: MessageContent | None) -> dict[str, Any] | None:
    """Return a message as stores write it; None when it was deleted."""
    if side is None:
        return None
    return {
        "kind": side.kind.value,
        "text": side.text,
        "media": [{"part": m.part.value, "key": m.key, "size": m.size_bytes} for m in side.media],
        **({"transcribed": True} if side.transcribed else {}),
    }


def read_content(document: dict[str, Any] | None) -> MessageContent | None:
    """Return a message from what `content_document` wrote."""
    if document is None:
        return None
    media = tuple(StoredMedia(MediaPart(m["part"]), m["key"], m["size"]) for m in document["media"])
    return MessageContent(MessageKind(document["kind"]), document["text"], media, document.get("transcribed", False))


def content_words(side: MessageContent | None) -> list[str]:
    """Return the words by which a message is found, as stores write them."""
    return tokenize(side.text) if side is not None and side.text is not None else []


def read_outcome(raw: str) -> Outcome:
    """Return an outcome from its name."""
    return Outcome(raw)
