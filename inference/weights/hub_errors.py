"""The hub's errors by their causes."""

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

from inference.weights.errors import HubAway, LicenceNotAccepted, NotOnHub, TokenRejected

_UNAUTHORISED: Final = 401
_FORBIDDEN: Final = 403


@contextmanager
def hub_errors_named(model_id: str, token: str | bool | None) -> Iterator[None]:
    """Turn what huggingface_hub raises in the body into the causes that an operator can act on.

    Raises:
        LicenceNotAccepted: the token's account may not have this repository yet.
        TokenRejected: there is no token, or one that the hub does not know.
        NotOnHub: there is no such repository, revision or file.
        HubAway: anything else.

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
        raise HubAway(f"HTTP {status}") from error
    except OfflineModeIsEnabled as error:
        raise HubAway("HF_HUB_OFFLINE is set") from error
    except HTTPError as error:
        raise HubAway(type(error).__name__) from error
