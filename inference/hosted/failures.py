"""Classifies the client's failures by their exception and by the provider's response.

No text of a response is kept, because it may quote the prompt.
"""

from collections.abc import Mapping
from typing import Final

import httpx2
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError
from PIL import UnidentifiedImageError

from inference.hosted import errors
from inference.hosted.errors import ProviderError
from inference.hosted.transport import Exchange
from outbound.errors import AddressRefused, EncodingRefused, ResponseTooLarge, SchemeRefused

_REFUSAL_WORDS: Final = ("nsfw", "safety", "sensitive", "flagged")
"""A response that refuses the content contains at least one of these words."""

_STATUSES: Final[Mapping[int, tuple[type[ProviderError], str]]] = {
    401: (errors.KeyRejected, "check HUGGINGFACE_API_KEY"),
    402: (errors.CreditSpent, "the account behind HUGGINGFACE_API_KEY cannot pay"),
    403: (errors.KeyRejected, "HUGGINGFACE_API_KEY may not call inference providers"),
    408: (errors.ProviderTimeout, "it was too slow"),
    429: (errors.ProviderRateLimited, "too many requests"),
    504: (errors.ProviderTimeout, "it was too slow"),
}

# The first matching entry applies.
_EXCEPTIONS: Final[tuple[tuple[tuple[type[Exception], ...], type[ProviderError], str], ...]] = (
    (
        (AddressRefused, SchemeRefused),
        errors.AddressRefused,
        "named an address that OUTBOUND_ALLOWED_NETWORKS does not allow",
    ),
    (
        (ResponseTooLarge, EncodingRefused),
        errors.ResponseRefused,
        "sent a response that is larger than any image, or encoded",
    ),
    ((httpx2.ProxyError,), errors.ProviderUnreachable, "cannot be reached through OUTBOUND_PROXY_URL"),
    ((httpx2.ConnectError, httpx2.ConnectTimeout), errors.ProviderUnreachable, "cannot be reached"),
    ((httpx2.UnsupportedProtocol, httpx2.InvalidURL), errors.ProviderUnreachable, "has an invalid address"),
    ((httpx2.TooManyRedirects,), errors.ProviderUnreachable, "redirects without end"),
    ((TimeoutError, httpx2.TimeoutException), errors.ProviderTimeout, "did not answer in time"),
    ((httpx2.TransportError, httpx2.DecodingError), errors.ResponseBroken, "ended its response early"),
    ((UnidentifiedImageError, OSError), errors.ImageBroken, "sent no valid image"),
    ((Exception,), errors.ResponseBroken, "sent an unreadable response"),
)


def classify(provider: str, exchange: Exchange, error: Exception) -> ProviderError:
    """Return the provider error for an exception of the client."""
    if isinstance(error, ProviderError):
        return error
    if isinstance(error, GatedRepoError):
        return errors.ModelGated(
            provider, "does not serve the model: its licence is not accepted for this key"
        )
    if isinstance(error, HfHubHTTPError):
        refused, loading = exchange.json_contains(_REFUSAL_WORDS), exchange.json_contains(("loading",))
        return _classify_status(provider, error.response, refused=refused, loading=loading)
    if exchange.last_json().get("status") == "failed":  # from replicate; the client raises a timeout for it
        if exchange.json_contains(_REFUSAL_WORDS):
            return errors.ContentRefused(provider, "refused the content")
        return errors.ProviderFailed(provider, "failed to draw")
    for types, error_class, cause in _EXCEPTIONS:
        if isinstance(error, types):
            return error_class(provider, cause)
    raise AssertionError("the last entry matches every exception")


def _classify_status(
    provider: str, response: httpx2.Response, *, refused: bool, loading: bool
) -> ProviderError:
    status = response.status_code
    retry_after_s = _seconds(response.headers.get("retry-after"))
    cause = f"answered with HTTP {status}"
    if status in _STATUSES:
        error_class, explanation = _STATUSES[status]
        return error_class(provider, f"{cause}: {explanation}", retry_after_s)
    if status < 500:  # noqa: PLR2004 - in HTTP, a status from 500 on is a fault of the server
        if refused:
            return errors.ContentRefused(provider, "refused the content")
        return errors.OrderRefused(provider, cause)
    if loading:
        return errors.ProviderLoading(provider, f"{cause}: the model is loading", retry_after_s)
    return errors.ProviderFailed(provider, cause, retry_after_s)


def _seconds(header: str | None) -> float | None:
    """Return the value of Retry-After if it is a number of seconds, as the providers send it."""
    return float(header) if header and header.isascii() and header.isdecimal() else None
