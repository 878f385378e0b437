"""What a failure of the client means, told apart by what came over the wire.

No answer's own words are kept: they may quote the prompt.
"""

from collections.abc import Mapping
from typing import Final

import httpx2
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError
from PIL import UnidentifiedImageError

from inference.hosted import errors
from inference.hosted.errors import ProviderError
from inference.hosted.transport import Exchange

_REFUSED: Final = ("nsfw", "safety", "sensitive", "flagged")
"""Words of which a provider that refuses the content says at least one."""

_STATUSES: Final[Mapping[int, tuple[type[ProviderError], str]]] = {
    401: (errors.KeyRejected, "check HUGGINGFACE_API_KEY"),
    402: (errors.CreditSpent, "the account behind HUGGINGFACE_API_KEY cannot pay"),
    403: (errors.KeyRejected, "HUGGINGFACE_API_KEY may not call inference providers"),
    408: (errors.ProviderSlow, "it was too slow"),
    429: (errors.ProviderBusy, "too many requests"),
    504: (errors.ProviderSlow, "it was too slow"),
}

# The first that fits counts.
_EXCEPTIONS: Final[tuple[tuple[tuple[type[Exception], ...], type[ProviderError], str], ...]] = (
    ((httpx2.ProxyError,), errors.ProviderAway, "cannot be reached by the proxy of HTTPS_PROXY"),
    ((httpx2.ConnectError, httpx2.ConnectTimeout), errors.ProviderAway, "cannot be reached"),
    ((httpx2.UnsupportedProtocol, httpx2.InvalidURL), errors.ProviderAway, "names no address of the web"),
    ((httpx2.TooManyRedirects,), errors.ProviderAway, "redirects without end"),
    ((TimeoutError, httpx2.TimeoutException), errors.ProviderSlow, "did not answer in time"),
    ((httpx2.TransportError, httpx2.DecodingError), errors.AnswerBroken, "broke its answer off"),
    ((UnidentifiedImageError, OSError), errors.ImageBroken, "sent what is no image"),
    ((Exception,), errors.AnswerBroken, "answered what cannot be read"),
)


def told_apart(provider: str, exchange: Exchange, error: Exception) -> ProviderError:
    """Return what an exception of the client means."""
    if isinstance(error, GatedRepoError):
        return errors.ModelGated(
            provider, "does not serve the model: its licence is not accepted for this key"
        )
    if isinstance(error, HfHubHTTPError):
        return _of_status(provider, error.response, exchange.says(_REFUSED), exchange.says(("loading",)))
    if exchange.last_json().get("status") == "failed":  # replicate's, which the client takes for a timeout
        if exchange.says(_REFUSED):
            return errors.ContentRefused(provider, "refused the content")
        return errors.ProviderFailed(provider, "failed to draw")
    for types, meaning, words in _EXCEPTIONS:
        if isinstance(error, types):
            return meaning(provider, words)
    raise AssertionError("every exception is one")


def _of_status(provider: str, response: httpx2.Response, refused: bool, loading: bool) -> ProviderError:
    status = response.status_code
    retry_after_s = _seconds(response.headers.get("retry-after"))
    said = f"answered with HTTP {status}"
    if status in _STATUSES:
        meaning, words = _STATUSES[status]
        return meaning(provider, f"{said}: {words}", retry_after_s)
    if status < 500:  # noqa: PLR2004 - HTTP's own: from here on the fault is the server's
        if refused:
            return errors.ContentRefused(provider, "refused the content")
        return errors.OrderRefused(provider, said)
    if loading:
        return errors.ProviderLoading(provider, f"{said}: the model is loading", retry_after_s)
    return errors.ProviderFailed(provider, said, retry_after_s)


def _seconds(header: str | None) -> float | None:
    """Read Retry-After where it is a number of seconds, as the providers send it."""
    return float(header) if header and header.isascii() and header.isdecimal() else None
