import pytest
from sqlalchemy import select

from catalog.tiers import Tier
from server.accounts.errors import TokenInvalid, UserExists, UserUnknown
from server.accounts.repository import KEY_PREFIX, Users
from server.accounts.tables import ApiKey
from server.caller import Caller
from server.db.unit_of_work import UnitOfWork


def mint(uow: UnitOfWork, user_id, label="test"):
    """Issue a key in a transaction of its own."""
    with uow.begin() as tx:
        return Users(tx).mint_key(user_id, label)


def caller_of(uow, token):
    """Return who is behind a token."""
    with uow.read() as tx:
        return Users(tx).authenticate(token)


def everything_stored(uow, tmp_path):
    """Return the whole database as bytes: the SQLite files, or every row of every table in PostgreSQL."""
    if uow.engine.dialect.name == "sqlite":
        return b"".join(path.read_bytes() for path in tmp_path.glob("test.db*"))
    with uow.engine.connect() as connection:
        tables = connection.exec_driver_sql(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        ).scalars()
        rows = [connection.exec_driver_sql(f"SELECT * FROM {table}").all() for table in tables]  # noqa: S608  # their own names
    return repr(rows).encode()


class TestUsers:
    def test_a_user_is_found_by_id_or_email(self, uow):
        """Both name a user; the id wins where another's email reads like it."""
        with uow.begin() as tx:
            Users(tx).add("ada@example.com", Tier.PRO, "ada")
            Users(tx).add("ada", Tier.FREE, "bob")
        with uow.read() as tx:
            assert Users(tx).find("ada").id == "ada"
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

    def test_without_an_id_one_is_made(self, uow):
        """Users without an id from elsewhere get one each."""
        with uow.begin() as tx:
            assert Users(tx).add(None, Tier.FREE).id != Users(tx).add(None, Tier.FREE).id

    def test_who_is_not_there_is_not_found(self, uow):
        """An unknown name is an error that says whom it was looking for."""
        with pytest.raises(UserUnknown, match=r"nobody@example\.com"), uow.read() as tx:
            Users(tx).find("nobody@example.com")


class TestKeys:
    def test_a_key_opens_for_its_owner(self, uow, make_account):
        """A minted token is the user who owns it, with the tier of the moment."""
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
        """The token is nowhere in the database; its digest and the prefix that is shown are."""
        key = mint(uow, make_account().user_id)
        with uow.read() as tx:
            row = tx.session.scalar(select(ApiKey).where(ApiKey.id == key.id))
        stored = everything_stored(uow, tmp_path)
        assert row.digest.encode() in stored
        assert key.token.encode() not in stored
        assert key.token[len(key.prefix) :].encode() not in stored
        assert len(key.token) - len(key.prefix) > 128 / 6

    def test_a_minted_key_does_not_show_its_token(self, uow, make_account):
        """What a key looks like in a log or a traceback leaves the token out."""
        key = mint(uow, make_account().user_id)
        assert key.token not in repr(key)
        assert key.token not in f"{key}"

    @pytest.mark.parametrize("wrong", ["", "ac_", "nonsense", "ac_" + "é" * 43])
    def test_a_token_that_was_never_minted_opens_nothing(self, uow, make_account, wrong):
        """An unknown token is invalid, and so is one that differs in a single character."""
        token = make_account().token
        changed = token[:-1] + ("A" if token[-1] != "A" else "B")
        for guess in (wrong, changed, token + "A", token[:-1], token.upper()):
            with pytest.raises(TokenInvalid):
                caller_of(uow, guess)

    def test_a_revoked_key_is_dead_and_others_live(self, uow, make_account):
        """Revoking by label or by prefix ends those keys; one's own others and other users' stay."""
        user, other = make_account(), make_account()
        first, second = mint(uow, user.user_id, "first"), mint(uow, user.user_id, "second")
        with uow.begin() as tx:
            assert Users(tx).revoke_keys(user.user_id, label="first") == 1
            assert Users(tx).revoke_keys(user.user_id, prefix=second.prefix) == 1
            assert Users(tx).revoke_keys(user.user_id, prefix=first.prefix) == 0
        for dead in (first, second):
            with pytest.raises(TokenInvalid):
                caller_of(uow, dead.token)
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
