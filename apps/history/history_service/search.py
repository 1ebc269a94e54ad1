"""Finding messages by their words, over HTTP."""

from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from history_service.access import Access, path_client, query_limit
from history_service.messages import document, read_message_id
from history_service.stores.base import MessageStore
from history_service.words import words_of
from servicekit.problems import Problem

MAX_QUERY_CHARACTERS: Final = 256


class Search:
    """Searches what one client said and was answered."""

    def __init__(self, store: MessageStore, access: Access) -> None:
        self._store = store
        self._access = access

    async def get(self, request: Request) -> Response:
        """Answer `GET /v1/clients/{client}/search`: messages that hold all words, newest first, a page at a time."""
        client_id = path_client(request)
        self._access.require_client(request, client_id)
        words, limit = _query(request), query_limit(request)
        before = read_message_id(request, "cursor")
        found = await self._store.search(client_id, words, before=before, limit=limit + 1)
        page = found[:limit]
        following = str(page[-1].id) if len(found) > limit else None
        return JSONResponse({"messages": [document(message) for message in page], "next": following})


def _query(request: Request) -> list[str]:
    """Return the words that are asked for. Raises a 400 problem."""
    raw = request.query_params.get("q", "")
    if not 1 <= len(raw) <= MAX_QUERY_CHARACTERS:
        raise Problem(400, "query_malformed", f"q must have 1 to {MAX_QUERY_CHARACTERS} characters")
    words = words_of(raw)
    if not words:
        detail = "q must have a word: letters, digits, emoji or other symbols; punctuation alone finds nothing"
        raise Problem(400, "query_without_words", detail)
    return words
