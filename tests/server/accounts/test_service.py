import pytest

from catalog.tiers import Tier
from server.accounts import service
from server.accounts.errors import EmailTaken, TokenInvalid, TooManyKeys, UserExists, UserUnknown
from server.accounts.keys import MAX_VALID_KEYS
from server.accounts.repository import Users
from server.credits.repository import Ledger
from server.credits.service import audit, balance

pytestmark = pytest.mark.usefixtures("books_that_balance")


@pytest.fixture
def registered(uow):
    """A user with ten credits and a key."""
    return service.register(
        uow, email="a@example.org", tier=Tier.PRO, granted=10, reason="Welcome", key_label="first"
    )


def caller_of(uow, token):
    """Return the owner of a key."""
    with uow.read() as tx:
        return Users(tx).key_holder(token).caller


class TestRegister:
    def test_account_credits_and_key(self, uow, registered):
        """A new user can spend what was granted, and asks with the key."""
        caller = caller_of(uow, registered.key.token)
        assert (caller.user_id, caller.tier) == (registered.user_id, Tier.PRO)
        assert balance(uow, caller) == 10
        assert audit(uow).passed

    def test_a_taken_id_changes_nothing(self, uow, registered):
        """A second user of the same id is refused, without a key and without credits."""
        with pytest.raises(UserExists):
            service.register(
                uow,
                email=None,
                tier=Tier.FREE,
                granted=5,
                reason="Welcome",
                key_label="first",
                user_id=registered.user_id,
            )
        with uow.read() as tx:
            assert Ledger(tx).available(registered.user_id) == 10
            assert Users(tx).find(registered.user_id).tier == "pro"

    def test_a_taken_email_changes_nothing(self, uow, registered):
        """A second user of the same email is refused and leaves no account."""
        with pytest.raises(EmailTaken, match="Another user has the email"):
            service.register(
                uow,
                email="A@example.org",
                tier=Tier.FREE,
                granted=5,
                reason="Welcome",
                key_label="first",
                user_id="second",
            )
        with pytest.raises(UserUnknown):
            service.find(uow, "second")


class TestFind:
    def test_by_id_and_by_email(self, uow, registered):
        """A user is found by the id and by the email."""
        by_id, by_email = (service.find(uow, who) for who in (registered.user_id, "a@example.org"))
        assert by_id == by_email
        assert by_id.tier is Tier.PRO

    def test_nobody(self, uow):
        """Every use case that takes a user's id or email says when there is no such user."""
        for act in (
            lambda: service.find(uow, "nobody"),
            lambda: service.set_tier(uow, "nobody", Tier.PRO),
            lambda: service.delete(uow, "nobody"),
            lambda: service.create_key(uow, "nobody", "x"),
            lambda: service.list_keys(uow, "nobody"),
            lambda: service.replace_key(uow, "nobody", "x"),
            lambda: service.revoke_keys(uow, "nobody"),
            lambda: service.grant(uow, "nobody", 1, "x"),
        ):
            with pytest.raises(UserUnknown, match="nobody"):
                act()


class TestSetTier:
    def test_it_counts_from_the_next_request_on(self, uow, registered):
        """The next request with the same key has the new tier."""
        assert service.set_tier(uow, "a@example.org", Tier.ENTERPRISE) == registered.user_id
        assert caller_of(uow, registered.key.token).tier is Tier.ENTERPRISE


class TestDelete:
    def test_a_deleted_user_is_gone_for_everybody(self, uow, registered):
        """After the deletion, which may be repeated, the key opens nothing and no command finds the user."""
        assert service.delete(uow, "a@example.org").user_id == registered.user_id
        assert service.delete(uow, registered.user_id).user_id == registered.user_id
        with pytest.raises(TokenInvalid):
            caller_of(uow, registered.key.token)
        for act in (
            lambda: service.grant(uow, registered.user_id, 5, "x"),
            lambda: service.set_tier(uow, registered.user_id, Tier.FREE),
            lambda: service.create_key(uow, registered.user_id, "x"),
            lambda: service.find(uow, "a@example.org"),
        ):
            with pytest.raises(UserUnknown):
                act()

    def test_what_the_user_had_stays_in_the_books(self, uow, registered):
        """The ledger keeps the account of a deleted user."""
        service.delete(uow, registered.user_id)
        with uow.read() as tx:
            assert Ledger(tx).available(registered.user_id) == 10


class TestKeys:
    def test_a_user_has_only_so_many(self, uow, registered):
        """Operators issue no more valid keys to a user than the user may have; a replacement is no more."""
        for number in range(1, MAX_VALID_KEYS):
            service.create_key(uow, registered.user_id, f"key {number}", lifetime_days=1)
        with pytest.raises(TooManyKeys, match="at most 20"):
            service.create_key(uow, registered.user_id, "one more")
        service.replace_key(uow, registered.user_id, "first")
        assert len(service.list_keys(uow, registered.user_id)) == MAX_VALID_KEYS

    def test_a_replaced_key_opens_nothing(self, uow, registered):
        """A replacement revokes the keys of its label, and no other."""
        other = service.create_key(uow, registered.user_id, "other")
        replacement = service.replace_key(uow, registered.user_id, "first")
        with pytest.raises(TokenInvalid):
            caller_of(uow, registered.key.token)
        for key in (other.key, replacement.key):
            assert caller_of(uow, key.token).user_id == registered.user_id

    def test_revoking_all(self, uow, registered):
        """Without a prefix all keys of the user are revoked; the count says how many."""
        service.create_key(uow, registered.user_id, "other")
        assert service.revoke_keys(uow, registered.user_id) == 2
        assert service.revoke_keys(uow, registered.user_id) == 0


class TestGrant:
    def test_it_adds_up(self, uow, registered):
        """A grant is added to what there was, and returns the new balance."""
        assert service.grant(uow, "a@example.org", 5, "A gift") == (registered.user_id, 15)
