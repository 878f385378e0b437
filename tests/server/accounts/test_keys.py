import pytest

from server.accounts import keys
from server.accounts.errors import TooManyKeys
from server.accounts.keys import MAX_VALID_KEYS
from server.accounts.repository import Users
from server.clock import now
from server.errors import NotFound


def fill(uow, user_id, keys_left):
    """Issue keys until a user may have so many more; one is there already."""
    with uow.begin() as tx:
        for _ in range(MAX_VALID_KEYS - 1 - keys_left):
            Users(tx).mint_key(user_id, "test")


class TestIssue:
    def test_two_requests_for_the_last_place(self, uow, make_account, at_once):
        """Of several requests for the last key that a user may have, one wins."""
        account = make_account()
        fill(uow, account.user_id, keys_left=1)
        outcomes = at_once(4, lambda: keys.create(uow, account.caller, "last", None))
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["MintedKey"] + ["TooManyKeys"] * 3
        with uow.read() as tx:
            assert Users(tx).valid_keys(account.user_id) == MAX_VALID_KEYS

    def test_what_is_over_leaves_its_place(self, uow, make_account):
        """Revoked and expired keys do not count, and neither do other users' keys."""
        account, other = make_account(), make_account()
        fill(uow, account.user_id, keys_left=0)
        fill(uow, other.user_id, keys_left=1)
        with pytest.raises(TooManyKeys):
            keys.create(uow, account.caller, "one more", None)
        gone = keys.list_all(uow, account.caller)[0]
        keys.revoke(uow, account.caller, gone.id)
        with uow.begin() as tx:
            Users(tx).mint_key(account.user_id, "expired", now())
        assert keys.create(uow, account.caller, "one more", 1).stored.expires_at is not None
        assert keys.create(uow, other.caller, "last", None).stored.expires_at is None


class TestRevoke:
    def test_only_the_owner_may(self, uow, make_account):
        """Another user's key, a revoked one and an unknown one are not found, and nothing changes."""
        owner, other = make_account(), make_account()
        (key,) = keys.list_all(uow, owner.caller)
        for caller, key_id in ((other.caller, key.id), (owner.caller, "none"), (owner.caller, "")):
            with pytest.raises(NotFound, match="API key not found"):
                keys.revoke(uow, caller, key_id)
        keys.revoke(uow, owner.caller, key.id)
        with pytest.raises(NotFound):
            keys.revoke(uow, owner.caller, key.id)
        assert keys.list_all(uow, owner.caller) == []
        assert len(keys.list_all(uow, other.caller)) == 1
