from datetime import timedelta

import pytest
from sqlalchemy import select

from catalog.tiers import Tier
from server.accounts.errors import (
    EmailTaken,
    IdentityInvalid,
    TokenExpired,
    TokenInvalid,
    UserAmbiguous,
    UserExists,
    UserUnknown,
)
from server.accounts.repository import KEY_PREFIX, Users
from server.accounts.tables import ApiKey
from server.caller import Caller
from server.clock import now
from server.db.unit_of_work import UnitOfWork


def mint(uow: UnitOfWork, user_id, label="test"):
    """Issue a key in a transaction of its own."""
    with uow.begin() as tx:
        return Users(tx).mint_key(user_id, label)


def caller_of(uow, token):
    """Return the caller whom a token authenticates."""
    with uow.read() as tx:
        return Users(tx).key_holder(token).caller


def everything_stored(uow, tmp_path):
    """Return the whole database as bytes: the SQLite files, or every row of every table in PostgreSQL."""
    if uow.engine.dialect.name == "sqlite":
        return b"".join(path.read_bytes() for path in tmp_path.glob("test_*.db*"))
    with uow.engine.connect() as connection:
        tables = connection.exec_driver_sql(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        ).scalars()
        rows = [connection.exec_driver_sql(f"SELECT * FROM {table}").all() for table in tables]  # noqa: S608  # names from the schema
    return repr(rows).encode()


class TestUsers:
    def test_a_user_is_found_by_id_or_email(self, uow):
        """An id and an email both find a user; what is one's id and another's email finds neither."""
        with uow.begin() as tx:
            Users(tx).add("ada@example.com", Tier.PRO, "ada")
            Users(tx).add("ada", Tier.FREE, "bob")
        with uow.read() as tx:
            with pytest.raises(UserAmbiguous, match="name id:ada or id:bob"):
                Users(tx).find("ada")
            assert Users(tx).find("id:ada").id == "ada"
            assert Users(tx).find("ada@example.com").id == "ada"
            assert Users(tx).find("bob").tier == "free"

    def test_an_id_is_given_once(self, uow):
        """A second user of the same id is refused, and the first stays as it is."""
        with uow.begin() as tx:
            Users(tx).add("one@example.com", Tier.PRO, "ada")
        with pytest.raises(UserExists, match="ada exists already"), uow.begin() as tx:
            Users(tx).add("two@example.com", Tier.FREE, "ada")
        with uow.read() as tx:
            assert Users(tx).find("ada").email == "one@example.com"

    def test_an_email_is_given_once(self, uow):
        """A second user of the same email, in whatever case, is refused; users without one are many."""
        with uow.begin() as tx:
            Users(tx).add("ada@example.com", Tier.PRO, "ada")
            Users(tx).add(None, Tier.FREE, "bob")
            Users(tx).add(None, Tier.FREE, "eve")
        with pytest.raises(EmailTaken, match="Another user has the email"), uow.begin() as tx:
            Users(tx).add("Ada@Example.COM", Tier.FREE, "another")
        with uow.read() as tx:
            assert Users(tx).find("ADA@example.com").id == "ada"

    @pytest.mark.parametrize(("user_id", "email"), [("", None), ("u" * 65, None), ("u", "e" * 321)])
    def test_what_the_columns_do_not_hold_is_refused(self, uow, user_id, email):
        """An empty or long id and a long email are refused on both databases."""
        with pytest.raises(IdentityInvalid), uow.begin() as tx:
            Users(tx).add(email, Tier.FREE, user_id)

    def test_a_deleted_user_leaves_a_tombstone(self, uow):
        """A deleted user is not found, the id stays taken, the email is forgotten and free, the keys end."""
        with uow.begin() as tx:
            user = Users(tx).add("ada@example.com", Tier.PRO, "ada")
            token = Users(tx).mint_key("ada", "test").token
            Users(tx).delete(user)
        with uow.read() as tx:
            tombstone = Users(tx).find("ada", deleted=True)
            assert (tombstone.email, tombstone.deleted_at is None) == (None, False)
            for who in ("ada", "ada@example.com"):
                with pytest.raises(UserUnknown):
                    Users(tx).find(who)
            with pytest.raises(TokenInvalid):
                Users(tx).key_holder(token)
            with pytest.raises(TokenInvalid):
                Users(tx).visitor("ada")
        with pytest.raises(UserExists), uow.begin() as tx:
            Users(tx).add(None, Tier.FREE, "ada")
        with uow.begin() as tx:
            assert Users(tx).add("ada@example.com", Tier.FREE, "bob").email == "ada@example.com"

    def test_a_missing_id_is_generated(self, uow):
        """Users who bring no id get different ids."""
        with uow.begin() as tx:
            assert Users(tx).add(None, Tier.FREE).id != Users(tx).add(None, Tier.FREE).id

    def test_an_unknown_user_is_not_found(self, uow):
        """The error for an unknown user contains the name that was searched for."""
        with pytest.raises(UserUnknown, match=r"nobody@example\.com"), uow.read() as tx:
            Users(tx).find("nobody@example.com")


class TestKeys:
    def test_a_key_authenticates_its_owner(self, uow, make_account):
        """A token authenticates its owner, with the owner's current tier."""
        account = make_account(Tier.BASIC)
        token = mint(uow, account.user_id).token
        assert caller_of(uow, token) == Caller(account.user_id, Tier.BASIC)
        with uow.begin() as tx:
            Users(tx).find(account.user_id).tier = "pro"
        assert caller_of(uow, token).tier is Tier.PRO

    def test_no_two_keys_are_alike(self, uow, make_account):
        """Each token has 256 random bits after its prefix."""
        user = make_account().user_id
        tokens = {mint(uow, user).token for _ in range(20)}
        assert len(tokens) == 20
        for token in tokens:
            assert token.startswith(KEY_PREFIX)
            assert len(token.removeprefix(KEY_PREFIX)) * 6 >= 256

    def test_only_a_digest_is_kept(self, uow, make_account, tmp_path):
        """The database contains the digest and the displayed prefix of a token, but never the token."""
        key = mint(uow, make_account().user_id)
        with uow.read() as tx:
            row = tx.session.scalar(select(ApiKey).where(ApiKey.id == key.stored.id))
        stored = everything_stored(uow, tmp_path)
        assert row.digest.encode() in stored
        assert key.token.encode() not in stored
        assert key.token[len(key.stored.prefix) :].encode() not in stored
        assert len(key.token) - len(key.stored.prefix) > 128 / 6

    def test_a_minted_key_does_not_show_its_token(self, uow, make_account):
        """The repr and the str of a key, as in a log or a traceback, leave the token out."""
        key = mint(uow, make_account().user_id)
        assert key.token not in repr(key)
        assert key.token not in f"{key}"

    @pytest.mark.parametrize("wrong", ["", "ac_", "nonsense", "ac_" + "é" * 43])
    def test_a_token_that_was_never_minted_is_invalid(self, uow, make_account, wrong):
        """An unknown token is invalid, and so is one that differs in a single character."""
        token = make_account().token
        changed = token[:-1] + ("A" if token[-1] != "A" else "B")
        for guess in (wrong, changed, token + "A", token[:-1], token.upper()):
            with pytest.raises(TokenInvalid):
                caller_of(uow, guess)

    def test_a_revoked_key_is_invalid_and_others_stay_valid(self, uow, make_account):
        """Revoking by label or prefix ends those keys; the user's other keys and other users' keys stay."""
        user, other = make_account(), make_account()
        first, second = mint(uow, user.user_id, "first"), mint(uow, user.user_id, "second")
        with uow.begin() as tx:
            assert Users(tx).revoke_keys(user.user_id, label="first") == 1
            assert Users(tx).revoke_keys(user.user_id, prefix=second.stored.prefix) == 1
            assert Users(tx).revoke_keys(user.user_id, prefix=first.stored.prefix) == 0
        for revoked in (first, second):
            with pytest.raises(TokenInvalid):
                caller_of(uow, revoked.token)
        assert caller_of(uow, user.token).user_id == user.user_id
        assert caller_of(uow, other.token).user_id == other.user_id

    def test_all_keys_of_a_user_can_be_revoked_at_once(self, uow, make_account):
        """Without a label or prefix every valid key of the user ends."""
        user = make_account()
        mint(uow, user.user_id)
        with uow.begin() as tx:
            assert Users(tx).revoke_keys(user.user_id) == 2
        with pytest.raises(TokenInvalid):
            caller_of(uow, user.token)

    def test_an_expired_key_is_expired_and_a_revoked_one_invalid(self, uow, make_account):
        """From its expiry on a key is TokenExpired, unless it was revoked."""
        user = make_account().user_id
        with uow.begin() as tx:
            over = Users(tx).mint_key(user, "over", now())
            valid = Users(tx).mint_key(user, "valid", now() + timedelta(hours=1))
        assert caller_of(uow, valid.token).user_id == user
        with pytest.raises(TokenExpired):
            caller_of(uow, over.token)
        with uow.begin() as tx:
            assert Users(tx).revoke_keys(user, key_id=over.stored.id) == 1
        with pytest.raises(TokenInvalid):
            caller_of(uow, over.token)

    def test_expired_keys_are_listed_and_not_counted(self, uow, make_account):
        """A user sees the keys that were not revoked, newest first; those that expired do not count."""
        user, _other = make_account().user_id, make_account()
        with uow.begin() as tx:
            over = Users(tx).mint_key(user, "over", now())
            gone = Users(tx).mint_key(user, "gone")
            Users(tx).revoke_keys(user, key_id=gone.stored.id)
        with uow.read() as tx:
            assert [key.label for key in Users(tx).keys_of(user)] == ["over", "test"]
            assert Users(tx).valid_keys(user) == 1
        assert over.stored.expires_at is not None

    def test_a_deleted_users_key_is_invalid_even_unrevoked(self, uow, make_account):
        """A key that was issued while its user was being deleted opens nothing."""
        account = make_account()
        with uow.begin() as tx:
            Users(tx).delete(Users(tx).find(account.user_id))
        late = mint(uow, account.user_id)
        with pytest.raises(TokenInvalid):
            caller_of(uow, late.token)
