"""The session that huggingface_hub uses while providers are called."""

import base64
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import httpx2
from huggingface_hub.utils._http import hf_request_event_hook

from outbound.transport import open_client

_DATA: Final = "data:"


class _Session(httpx2.Client):
    """A client that also gets `data:` URLs, which hold their content themselves."""

    def get(self, url: httpx2.URL | str, **arguments: Any) -> httpx2.Response:
        """Return the response, or the content of a `data:` URL. What holds the URL has bounded its length.

        Raises:
            ValueError: the content is no base64.

        """
        if isinstance(url, str) and url[: len(_DATA)].lower() == _DATA:
            return httpx2.Response(200, content=_content_of(url))
        return super().get(url, **arguments)


def open_session(transport: httpx2.BaseTransport) -> httpx2.Client:
    """Return a session that sends all requests by a transport."""
    return open_client(transport, _Session, event_hooks={"request": [hf_request_event_hook]})


def _content_of(url: str) -> bytes:
    """Return what a `data:` URL holds. Source: RFC 2397."""
    description, _, content = url.partition(",")
    if description.lower().endswith(";base64"):
        return base64.b64decode(content, validate=True)
    return unquote_to_bytes(content)
