"""All that is kept of a client, over HTTP."""

from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from history_service.access import Access, path_client
from history_service.blobs.base import BlobStore
from history_service.blobs.removal import delete_below
from history_service.stores.base import MessageStore
from servicekit.clock import Now
from servicekit.logs import get_logger

log = get_logger(__name__)


class Clients:
    """Erases clients."""

    def __init__(self, store: MessageStore, blobs: BlobStore, access: Access, now: Now) -> None:
        self._store = store
        self._blobs = blobs
        self._access = access
        self._now = now

    async def erase(self, request: Request) -> Response:
        """Answer `DELETE /v1/clients/{client}`: everything up to now, for good. Asked again it goes on."""
        client_id = path_client(request)
        self._access.require_client(request, client_id)
        at = self._now()
        await self._store.erase_client(client_id, at=at)
        await delete_below(self._blobs, f"{client_id}/", until=at)
        log.info("client.erased")  # its id is what was to be forgotten
        return Response(status_code=HTTPStatus.NO_CONTENT)
