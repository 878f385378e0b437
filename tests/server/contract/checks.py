"""The checks of the answers of the contract's routes."""

from collections.abc import Callable
from typing import Any

from tests.server.contract.shapes import AVATAR, CREDIT_ENTRY, GENERATION, STATS, SUBMITTED, conforms


def part(name: str, shape: dict[str, Any]) -> Callable[[Any], None]:
    """Check one part of an answer."""
    return lambda body: conforms(body[name], shape)


def each(name: str, shape: dict[str, Any]) -> Callable[[Any], None]:
    """Check each element of a list in an answer, of which there must be one at least."""

    def check(body: Any) -> None:
        assert body[name]
        for element in body[name]:
            conforms(element, shape)

    return check


def message(body: Any) -> None:
    """Check that an answer says what was done."""
    assert isinstance(body["message"], str)
    assert body["message"]


def submitted(body: Any) -> None:
    """Check the answer to a submission."""
    conforms(body, SUBMITTED)
    conforms(body["generation"], GENERATION)


def uploaded(body: Any) -> None:
    """Check the answer to an upload."""
    message(body)
    conforms(body["avatar"], AVATAR)
    assert body["avatar"]["project"]["id"]
    assert body["creditUsed"] == 2
    assert body["creditBalance"] == 1000 - 12 - 12 - 2


def of_avatar(body: Any) -> None:
    """Check an avatar with its project."""
    conforms(body["avatar"], AVATAR)
    assert body["avatar"]["project"].keys() >= {"id", "name"}


def listed_avatars(body: Any) -> None:
    """Check the list of avatars and its description."""
    each("avatars", AVATAR)(body)
    assert body["meta"].keys() >= {"total", "limit", "offset", "hasMore"}


def statistics(body: Any) -> None:
    """Check a user's statistics."""
    conforms(body["stats"], STATS)
    assert isinstance(body["creditBalance"], int)
    assert body["hasEnterpriseUnlimited"] is False
    assert body["costs"] == {
        "generateAvatar": 6,
        "uploadAvatar": 2,
        "fromPreset": 8,
        "fromReference": 12,
        "editPersona": 0,
    }


def usage_history(body: Any) -> None:
    """Check that the usage is there with `success`, without which the front end shows nothing."""
    assert body["success"] is True
    assert isinstance(body["history"], list)
    assert isinstance(body["summary"], list)


def balance(body: Any) -> None:
    """Check the balance."""
    assert body == {"success": True, "data": {"balance": 1000 - 24}}


def credit_history(body: Any) -> None:
    """Check the bare list of a user's credits."""
    for entry in body:
        conforms(entry, CREDIT_ENTRY)
    assert [entry["amount"] for entry in body] == [-12, -12, 1000]


def healthy(body: Any) -> None:
    """Check what the front end reads of the health."""
    assert (body["status"], body["app"]) == ("ok", "avatar-creator")


def models_of(name: str, shape: dict[str, Any]) -> Callable[[Any], None]:
    """Check a list in `data`."""

    def check(body: Any) -> None:
        assert body["success"] is True
        each(name, shape)(body["data"])

    return check
