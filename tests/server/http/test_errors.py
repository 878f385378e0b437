import importlib
import pkgutil

import pytest

import server
from catalog.selection import EntryBeyondTier, NoEntryAvailable, SizeRejected, UnknownEntry
from catalog.tiers import Tier
from server.accounts.errors import (
    EmailTaken,
    IdentityInvalid,
    KeyUnknown,
    UserAmbiguous,
    UserExists,
    UserUnknown,
)
from server.credits.errors import GrantDiffers, InsufficientCredits
from server.entries.errors import EntryUnknown
from server.errors import DomainError
from server.generations.submission import QueueFull
from server.http.errors import BUG_MESSAGE, MEANINGS, InputInvalid, describe

# Only the command line meets these, and prints their words.
NOT_OVER_HTTP = {
    EmailTaken,
    EntryUnknown,
    GrantDiffers,
    IdentityInvalid,
    KeyUnknown,
    UserAmbiguous,
    UserExists,
    UserUnknown,
}


def subclasses(kind):
    """Return all classes below a class."""
    return {one for child in kind.__subclasses__() for one in (child, *subclasses(child))}


class TestMeanings:
    def test_every_error_of_the_domain_has_one(self):
        """A client never gets 500 for an error that the domain knows."""
        for module in pkgutil.walk_packages(server.__path__, "server."):
            if not module.name.startswith(("server.db.migrations", "server.worker", "server.cli")):
                importlib.import_module(module.name)
        assert subclasses(DomainError) - NOT_OVER_HTTP <= set(MEANINGS)

    def test_codes_go_with_their_status(self):
        """A code has one status, whatever error it stands for."""
        assert len({meaning.code for meaning in MEANINGS.values()}) == len(set(MEANINGS.values()))


class TestDescribe:
    @pytest.mark.parametrize(
        ("error", "status", "code", "field"),
        [
            (InputInvalid({"name": ["too long"], "width": ["odd"]}), 400, "VALIDATION_ERROR", "name"),
            (UnknownEntry("x", ("y",)), 400, "VALIDATION_ERROR", "modelKey"),
            (SizeRejected("height", 8, "at least 512"), 400, "VALIDATION_ERROR", "height"),
            (EntryBeyondTier("x", Tier.PRO, Tier.FREE), 403, "ACCESS_DENIED", "modelKey"),
            (NoEntryAvailable(), 404, "RESOURCE_NOT_FOUND", None),
            (InsufficientCredits(12, 3), 402, "INSUFFICIENT_CREDITS", None),
        ],
    )
    def test_status_code_and_field(self, error, status, code, field):
        """Each error has the contract's status and code, its own words, and names the field at fault."""
        described = describe(error)
        assert (described.status, described.code, described.field) == (status, code, field)
        assert described.message == str(error)
        assert field is None or described.details[field]

    def test_when_to_come_again(self):
        """An error that passes says when the same request may succeed."""
        assert describe(QueueFull(9)).retry_after_s == 30
        assert describe(InsufficientCredits(12, 3)).retry_after_s is None

    def test_a_bug_says_nothing_of_itself(self):
        """What is no error of the domain is an internal error, and its words stay inside."""
        described = describe(RuntimeError("a secret"))
        assert (described.status, described.code, described.message) == (500, "INTERNAL_ERROR", BUG_MESSAGE)
