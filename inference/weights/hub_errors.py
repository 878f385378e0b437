"""Translates the errors of huggingface_hub into causes that an operator can act on."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from httpx2 import HTTPError
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from inference.weights.errors import HubUnavailable, LicenceNotAccepted, NotOnHub, TokenRejected
from outbound.errors import OutboundRefused

_UNAUTHORISED: Final = 401
_FORBIDDEN: Final = 403


@contextmanager
def translate_hub_errors(model_id: str, token: str | bool | None) -> Iterator[None]:
    """Translate an error that huggingface_hub raises in the body into the `DownloadFailed` of its cause.

    Raises:
        LicenceNotAccepted: the token's account has not accepted the repository's licence.
        TokenRejected: no token is set, or the hub does not know it.
        NotOnHub: the repository, revision or file does not exist.
        HubUnavailable: any other error of the hub or the network.

    """
    try:
        yield
    except GatedRepoError as error:
        if error.response.status_code == _UNAUTHORISED:
            raise TokenRejected(model_id, given=bool(token)) from error
        raise LicenceNotAccepted(model_id) from error
    except RevisionNotFoundError as error:
        raise NotOnHub(model_id, "such revision") from error
    except EntryNotFoundError as error:
        raise NotOnHub(model_id, "such file") from error
    except RepositoryNotFoundError as error:
        raise NotOnHub(model_id, "repository") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in {_UNAUTHORISED, _FORBIDDEN}:
            raise TokenRejected(model_id, given=bool(token)) from error
        raise HubUnavailable(f"HTTP {status}") from error
    except OfflineModeIsEnabled as error:
        raise HubUnavailable("HF_HUB_OFFLINE is set") from error
    except HTTPError as error:
        refused = isinstance(error, OutboundRefused)
        raise HubUnavailable(str(error) if refused else type(error).__name__) from error
