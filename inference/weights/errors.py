"""Why weights could not be fetched: one class a cause, each with an exit code of its own."""

from pathlib import Path
from typing import ClassVar


class DownloadFailed(Exception):
    """Weights could not be fetched; what is complete stays, and the next run goes on from there."""

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
    """The hub wants a token and got none, or one that it does not know."""

    exit_code = 4

    def __init__(self, model_id: str, *, given: bool) -> None:
        cause = "is wrong or was revoked" if given else "is not set, and the repository is gated"
        super().__init__(
            f"{model_id}: HUGGINGFACE_API_KEY {cause}. Make one that may read gated repositories at "
            "https://huggingface.co/settings/tokens"
        )
        self.model_id = model_id
        self.given = given


class NotOnHub(DownloadFailed):
    """The hub shows no such repository, revision or file."""

    exit_code = 5

    def __init__(self, model_id: str, lacking: str) -> None:
        super().__init__(
            f"The hub shows no {lacking} of {model_id} to this token: check FLUX_MODEL, FLUX_LORA_MODEL and "
            "the revision in the catalogue"
        )
        self.model_id = model_id
        self.lacking = lacking


class NoSpace(DownloadFailed):
    """The disk does not hold what is to be fetched."""

    exit_code = 6

    def __init__(self, folder: Path, needed_bytes: int, free_bytes: int) -> None:
        super().__init__(
            f"{folder} does not hold what is to be fetched: {needed_bytes / 1e9:.2f} GB to come, "
            f"{free_bytes / 1e9:.2f} GB free, and quotas and inodes count, too. Make room, or name another "
            "folder with --to"
        )
        self.folder = folder
        self.needed_bytes = needed_bytes
        self.free_bytes = free_bytes


class HubAway(DownloadFailed):
    """The hub does not answer, or not as a hub does."""

    exit_code = 7

    def __init__(self, cause: str) -> None:
        super().__init__(
            f"The hub does not answer ({cause}): check the network, HTTPS_PROXY and HF_ENDPOINT. What was "
            "fetched is kept; run this again to go on"
        )
        self.cause = cause


class FileDamaged(DownloadFailed):
    """A file arrived whole and is not what the hub says it is."""

    exit_code = 8

    def __init__(self, model_id: str, name: str, expected: str, found: str) -> None:
        super().__init__(
            f"{model_id}/{name} was fetched and has the hash {found}, not {expected}: it was discarded. "
            "A proxy may have changed it; run this again"
        )
        self.model_id = model_id
        self.name = name
        self.expected = expected
        self.found = found


class FileTruncated(DownloadFailed):
    """A file ended before its size was reached, however often it was asked for the rest."""

    exit_code = 9

    def __init__(self, model_id: str, name: str, expected_bytes: int, found_bytes: int) -> None:
        super().__init__(
            f"{model_id}/{name} ended after {found_bytes} of {expected_bytes} bytes. What came is kept; "
            "run this again to go on"
        )
        self.model_id = model_id
        self.name = name
        self.expected_bytes = expected_bytes
        self.found_bytes = found_bytes


class RevisionsConflict(DownloadFailed):
    """Two entries want different revisions of one model, and one folder can hold one."""

    exit_code = 10

    def __init__(self, model_id: str, revisions: tuple[str, str]) -> None:
        super().__init__(f"The catalogue wants two revisions of {model_id}: {' and '.join(revisions)}")
        self.model_id = model_id
        self.revisions = revisions
