"""Errors of downloading weights: one class per cause, each with its own exit code."""

from pathlib import Path
from typing import ClassVar


class DownloadFailed(Exception):
    """Weights could not be downloaded. Complete files are kept, and the next run continues from there."""

    exit_code: ClassVar[int] = 1


class LicenceNotAccepted(DownloadFailed):
    """The repository is gated, and the token's account has not accepted its licence."""

    exit_code = 3

    def __init__(self, model_id: str) -> None:
        super().__init__(
            f"{model_id} is gated: accept its licence at https://huggingface.co/{model_id} with the account "
            "of HUGGINGFACE_API_KEY, then run this again"
        )
        self.model_id = model_id


class TokenRejected(DownloadFailed):
    """The hub requires a token and got none, or an unknown one."""

    exit_code = 4

    def __init__(self, model_id: str, *, given: bool) -> None:
        cause = "is wrong or was revoked" if given else "is not set, and the repository is gated"
        super().__init__(
            f"{model_id}: HUGGINGFACE_API_KEY {cause}. Create a token that may read gated repositories at "
            "https://huggingface.co/settings/tokens"
        )
        self.model_id = model_id
        self.given = given


class NotOnHub(DownloadFailed):
    """The hub does not show the repository, revision or file to this token."""

    exit_code = 5

    def __init__(self, model_id: str, missing: str) -> None:
        super().__init__(
            f"The hub shows no {missing} of {model_id} to this token: check FLUX_MODEL, FLUX_LORA_MODEL and "
            "the revision in the catalogue"
        )
        self.model_id = model_id
        self.missing = missing


class NoSpace(DownloadFailed):
    """The disk is too small for the missing files."""

    exit_code = 6

    def __init__(self, folder: Path, needed_bytes: int, free_bytes: int) -> None:
        super().__init__(
            f"{folder} does not hold what is to be fetched: {needed_bytes / 1e9:.2f} GB to fetch, "
            f"{free_bytes / 1e9:.2f} GB free; quotas and inodes count, too. Free some space, or choose "
            "another folder with --to"
        )
        self.folder = folder
        self.needed_bytes = needed_bytes
        self.free_bytes = free_bytes


class HubUnavailable(DownloadFailed):
    """The hub cannot be reached, or its response is an unexpected error."""

    exit_code = 7

    def __init__(self, cause: str) -> None:
        super().__init__(
            f"The hub does not answer ({cause}): check the network, OUTBOUND_PROXY_URL and HF_ENDPOINT. "
            "Fetched bytes are kept; run this again to continue"
        )
        self.cause = cause


class FileDamaged(DownloadFailed):
    """A completely downloaded file does not have the hash that the hub lists."""

    exit_code = 8

    def __init__(self, model_id: str, name: str, expected_digest: str, actual_digest: str) -> None:
        super().__init__(
            f"{model_id}/{name} was fetched and has the hash {actual_digest}, not {expected_digest}: it was "
            "discarded. A proxy may have changed it; run this again"
        )
        self.model_id = model_id
        self.name = name
        self.expected_digest = expected_digest
        self.actual_digest = actual_digest


class FileTruncated(DownloadFailed):
    """The download of a file ended too early in all its retries."""

    exit_code = 9

    def __init__(self, model_id: str, name: str, expected_bytes: int, received_bytes: int) -> None:
        super().__init__(
            f"{model_id}/{name} ended after {received_bytes} of {expected_bytes} bytes. They are kept; "
            "run this again to continue"
        )
        self.model_id = model_id
        self.name = name
        self.expected_bytes = expected_bytes
        self.received_bytes = received_bytes


class FileTooLong(DownloadFailed):
    """The hub sends more bytes of a file than it lists."""

    exit_code = 11

    def __init__(self, model_id: str, name: str, expected_bytes: int) -> None:
        super().__init__(
            f"{model_id}/{name} is longer than the {expected_bytes} bytes that the hub lists: it was "
            "discarded. A proxy may have changed it; run this again"
        )
        self.model_id = model_id
        self.name = name
        self.expected_bytes = expected_bytes


class RevisionsConflict(DownloadFailed):
    """Two entries need different revisions of one model, but a model's folder holds one revision only."""

    exit_code = 10

    def __init__(self, model_id: str, revisions: tuple[str, str]) -> None:
        super().__init__(f"The catalogue needs two revisions of {model_id}: {' and '.join(revisions)}")
        self.model_id = model_id
        self.revisions = revisions
