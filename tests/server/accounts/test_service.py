from threading import Event

import pytest
from sqlalchemy.event import listen, remove
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from catalog.tiers import Tier
from server.accounts import service
from server.accounts.errors import EmailTaken, TokenInvalid, TooManyKeys, UserExists, UserUnknown
from server.accounts.keys import MAX_VALID_KEYS
from server.accounts.repository import Users
from server.accounts.service import Granted
from server.credits.errors import GrantDiffers
from server.credits.repository import Ledger
from server.credits.service import audit, balance
from server.errors import DatabaseAway

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
            lambda: service.grant(uow, "nobody", 1, "x", "gift-1"),
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
            lambda: service.grant(uow, registered.user_id, 5, "x", "gift-1"),
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
        granted = service.grant(uow, "a@example.org", 5, "A gift", "gift-1")
        assert granted == Granted(registered.user_id, 15, repeated=False)

    def test_a_repetition_is_harmless(self, uow, registered):
        """The same credits to the same user under the same reference are granted once, and it says so."""
        service.grant(uow, registered.user_id, 5, "A gift", "gift-1")
        again = service.grant(uow, "a@example.org", 5, "A gift, again", "gift-1")
        assert again == Granted(registered.user_id, 15, repeated=True)
        other = service.grant(uow, registered.user_id, 5, "A gift", "gift-2")
        assert other == Granted(registered.user_id, 20, repeated=False)

    def test_another_grant_of_that_reference(self, uow, registered, make_account):
        """Another amount and another user are refused under a reference that was used, with what it was."""
        service.grant(uow, registered.user_id, 5, "A gift", "gift-1")
        for who, amount in ((registered.user_id, 6), (make_account().user_id, 5)):
            with pytest.raises(GrantDiffers) as refused:
                service.grant(uow, who, amount, "A gift", "gift-1")
            assert refused.value == GrantDiffers("gift-1", registered.user_id, 5)
        assert str(refused.value) == (
            f"The reference gift-1 is that of another grant: 5 credits to user {registered.user_id}"
        )
        assert balance(uow, service.find(uow, registered.user_id)) == 15

    def test_many_repetitions_at_once(self, uow, registered, at_once):
        """Of eight equal grants at the same moment one counts, and the others say that it was made."""
        granted = at_once(8, lambda: service.grant(uow, registered.user_id, 5, "A gift", "gift-1"))
        assert sorted(one.repeated for one in granted) == [False] + [True] * 7
        assert {one.balance for one in granted} == {15}

    def test_a_commit_whose_answer_is_lost(self, uow, registered):
        """A grant that was committed, though its giver saw an error, is not made twice by a repetition."""
        lost = Event()

        def lose_the_answer(_session):
            if not lost.is_set():
                lost.set()
                raise OperationalError("COMMIT", None, Exception("the connection is gone"))

        listen(Session, "after_commit", lose_the_answer)
        try:
            with pytest.raises(DatabaseAway):
                service.grant(uow, registered.user_id, 5, "A gift", "gift-1")
        finally:
            remove(Session, "after_commit", lose_the_answer)
        again = service.grant(uow, registered.user_id, 5, "A gift", "gift-1")
        assert again == Granted(registered.user_id, 15, repeated=True)

    def test_the_first_credits_have_a_reference(self, uow, registered):
        """An operator cannot grant a user's first credits again under their reference."""
        first = f"first:{registered.user_id}"
        assert service.grant(uow, registered.user_id, 10, "x", first).repeated
