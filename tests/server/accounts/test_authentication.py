import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import event, func, select

from catalog.tiers import Tier
from server.accounts.authentication import Authentication, welcome
from server.accounts.errors import TokenExpired, TokenInvalid
from server.accounts.identity import Identity
from server.accounts.key_uses import KeyUses
from server.accounts.repository import Users
from server.accounts.tables import User
from server.caller import Caller
from server.clock import now
from server.credits.repository import Ledger
from server.credits.tables import Account, Transfer
from server.db.engine import open_engine
from server.db.unit_of_work import UnitOfWork
from tests.server.signing import SESSION_SECRET, signed

pytestmark = pytest.mark.usefixtures("books_that_balance")

WELCOME_CREDITS = 100
WRITES = ("INSERT", "UPDATE", "DELETE", "BEGIN IMMEDIATE")


def authentication_on(uow, *, secret=SESSION_SECRET, welcome_credits=WELCOME_CREDITS):
    """Return what an API process authenticates with."""
    return Authentication(uow, KeyUses(uow), secret, welcome_credits)


@pytest.fixture
def caller_of(uow):
    """Authenticate a token."""
    return authentication_on(uow).caller_of


@pytest.fixture
def user_of(uow):
    """Read a user's row."""

    def read(user_id):
        with uow.read() as tx:
            return tx.session.get(User, user_id)

    return read


def welcomes(uow):
    """Return what was granted to each user, in the order of the grants."""
    with uow.read() as tx:
        granted = select(Transfer.user_id, Transfer.credits).where(Transfer.kind == "grant")
        return [tuple(row) for row in tx.session.execute(granted.order_by(Transfer.id))]


def counted(uow, table):
    with uow.read() as tx:
        return tx.session.scalar(select(func.count()).select_from(table))


@pytest.fixture
def statements(uow):
    """The statements that the database is sent from here on."""
    sent = []

    def note(_connection, _cursor, statement, *_):
        sent.append(statement)

    event.listen(uow.engine, "before_cursor_execute", note)
    yield sent
    event.remove(uow.engine, "before_cursor_execute", note)


class TestFirstVisit:
    def test_account_tier_and_welcome_credits(self, uow, caller_of, user_of):
        """A user first seen by a session token is free and has an account with the welcome credits."""
        caller = caller_of(signed("ada", email="Ada@Example.com"))
        assert caller == Caller("ada", Tier.FREE)
        assert (user_of("ada").email, user_of("ada").tier) == ("ada@example.com", "free")
        assert welcomes(uow) == [("ada", WELCOME_CREDITS)]
        with uow.read() as tx:
            assert Ledger(tx).available("ada") == WELCOME_CREDITS

    def test_no_welcome_credits(self, uow):
        """Where nothing is granted, the account is empty and the ledger has no entry."""
        authentication_on(uow, welcome_credits=0).caller_of(signed("ada"))
        assert welcomes(uow) == []
        assert counted(uow, Account) == 1

    def test_later_visits_change_nothing(self, uow, caller_of, user_of):
        """Later tokens of the same user, with whatever email, find the user as it is."""
        first = caller_of(signed("ada"))
        born = user_of("ada").created_at
        assert caller_of(signed("ada", email="new@example.com")) == first
        assert caller_of(signed("ada", email=None)) == first
        assert (user_of("ada").email, user_of("ada").created_at) == ("ada@example.com", born)
        assert welcomes(uow) == [("ada", WELCOME_CREDITS)]

    def test_sixty_four_first_visits_at_once(self, uow, caller_of, at_once):
        """Of 64 first requests at once all are answered, and one brings the welcome credits."""
        token = signed("ada")
        assert at_once(64, lambda: caller_of(token)) == [Caller("ada", Tier.FREE)] * 64
        assert welcomes(uow) == [("ada", WELCOME_CREDITS)]
        assert (counted(uow, User), counted(uow, Account)) == (1, 1)

    def test_first_visits_to_several_processes_at_once(self, uow, database_url):
        """Processes share no lock in memory; still a user who visits four at once is welcomed once."""
        units = [UnitOfWork(open_engine(database_url)) for _ in range(4)]
        processes = [authentication_on(unit) for unit in units]
        barrier = threading.Barrier(16)

        def visit(number):
            barrier.wait()
            return processes[number % 4].caller_of(signed("ada"))

        with ThreadPoolExecutor(16) as threads:
            assert list(threads.map(visit, range(16))) == [Caller("ada", Tier.FREE)] * 16
        for unit in units:
            unit.close()
        assert welcomes(uow) == [("ada", WELCOME_CREDITS)]

    def test_many_users_of_one_email_at_once(self, uow, at_once, user_of):
        """Of several first visits with the same email at once one user keeps it, and all are welcomed."""
        numbers = iter(range(12))
        lock = threading.Lock()
        process = authentication_on(uow)

        def visit():
            with lock:
                user_id = f"user-{next(numbers)}"
            return process.caller_of(signed(user_id, email="shared@example.com")).user_id

        visitors = at_once(12, visit)
        assert sorted(visitors) == sorted(f"user-{number}" for number in range(12))
        emails = [user_of(user_id).email for user_id in visitors]
        assert sorted(emails, key=str) == [None] * 11 + ["shared@example.com"]
        assert sorted(user_id for user_id, _ in welcomes(uow)) == sorted(visitors)


class TestEmails:
    def test_an_email_never_joins_two_users(self, uow, caller_of, user_of, log_lines):
        """A second user with the email of the first gets an account without it, and the log tells."""
        assert caller_of(signed("ada", email="ada@example.com")).user_id == "ada"
        assert caller_of(signed("bob", email="ADA@example.com")).user_id == "bob"
        assert (user_of("ada").email, user_of("bob").email) == ("ada@example.com", None)
        warnings = [line for line in log_lines() if line["event"] == "user.email_taken"]
        assert [line["user_id"] for line in warnings] == ["bob"]
        assert "example.com" not in str(log_lines())

    def test_an_operators_user_is_not_taken_over(self, uow, caller_of, user_of):
        """A token with the email of a user whom an operator made is another user, with its own tier."""
        with uow.begin() as tx:
            made = Users(tx).add("ada@example.com", Tier.ENTERPRISE).id
        assert caller_of(signed("platform-7", email="ada@example.com")) == Caller("platform-7", Tier.FREE)
        assert user_of(made).email == "ada@example.com"

    def test_a_user_who_was_brought_over_keeps_tier_and_credits(self, uow, caller_of):
        """A user whom an operator made with the platform's id has the given tier, and no second welcome."""
        with uow.begin() as tx:
            Users(tx).add(None, Tier.PRO, "ada")
            Ledger(tx).open_account("ada")
        assert caller_of(signed("ada")) == Caller("ada", Tier.PRO)
        assert welcomes(uow) == []


class TestRefusals:
    def test_without_a_secret_session_tokens_are_invalid(self, uow):
        """A server without a secret knows no session token."""
        with pytest.raises(TokenInvalid):
            authentication_on(uow, secret=None).caller_of(signed("ada"))
        assert counted(uow, User) == 0

    @pytest.mark.parametrize(
        ("token", "error"),
        [
            (signed("ada", secret="s" * 32), TokenInvalid),
            (signed("ada", iat=1, exp=2), TokenExpired),
            (signed("ada", exp=None), TokenInvalid),
            (signed(7), TokenInvalid),
            ("nonsense", TokenInvalid),
            ("ac_" + "x" * 43, TokenInvalid),
        ],
        ids=["forged", "expired", "no expiry", "user is a number", "nonsense", "unknown key"],
    )
    def test_a_bad_token_makes_no_user(self, uow, caller_of, token, error):
        """A forged, old or malformed token is refused and leaves nothing."""
        with pytest.raises(error):
            caller_of(token)
        assert counted(uow, User) == 0

    def test_a_deleted_user_stays_away(self, uow, caller_of):
        """A deleted user's session tokens and key are TokenInvalid, and there is no second welcome."""
        caller_of(signed("ada"))
        with uow.begin() as tx:
            key = Users(tx).mint_key("ada", "test")
            Users(tx).delete(Users(tx).find("ada"))
        for token in (signed("ada"), signed("ada", email="new@example.com"), key.token):
            with pytest.raises(TokenInvalid):
                caller_of(token)
        assert welcomes(uow) == [("ada", WELCOME_CREDITS)]

    def test_a_deletion_while_the_user_arrives(self, uow):
        """A user who is deleted between the look-up and the welcome is not welcomed."""
        with uow.begin() as tx:
            Users(tx).delete(Users(tx).add(None, Tier.FREE, "ada"))
        with pytest.raises(TokenInvalid):
            welcome(uow, Identity("ada", None), WELCOME_CREDITS)
        assert welcomes(uow) == []


class TestKeys:
    def test_key_and_session_token_are_the_same_user(self, uow, caller_of):
        """Whoever signed in by session token is the same caller with a key."""
        caller = caller_of(signed("ada"))
        with uow.begin() as tx:
            key = Users(tx).mint_key("ada", "test")
        assert caller_of(key.token) == caller

    def test_an_expired_key(self, uow, caller_of):
        """A key past its expiry is TokenExpired."""
        with uow.begin() as tx:
            Users(tx).add(None, Tier.FREE, "ada")
            Ledger(tx).open_account("ada")
            key = Users(tx).mint_key("ada", "test", now())
        with pytest.raises(TokenExpired):
            caller_of(key.token)


class TestCost:
    def test_a_known_user_costs_one_read(self, caller_of, make_account, statements):
        """A known user's key and session token each cost one SELECT and no write."""
        account = make_account()
        caller_of(signed("ada"))
        for token in (account.token, signed("ada")):
            statements.clear()
            caller_of(token)
            sent = [statement for statement in statements if not statement.startswith("BEGIN")]
            assert [statement.split()[0] for statement in sent] == ["SELECT"]
            assert not [statement for statement in statements if statement.startswith(WRITES)]

    def test_every_refused_key_costs_the_same_statement(self, uow, caller_of, make_account, statements):
        """An unknown, a revoked and an expired key, and a deleted user's, are looked up in the same way."""
        revoked, deleted = make_account(), make_account()
        with uow.begin() as tx:
            Users(tx).revoke_keys(revoked.user_id)
            expired = Users(tx).mint_key(revoked.user_id, "expired", now()).token
            Users(tx).delete(Users(tx).find(deleted.user_id))
        costs = []
        for token in ("ac_" + "x" * 43, "nonsense", revoked.token, deleted.token, expired):
            statements.clear()
            with pytest.raises((TokenInvalid, TokenExpired)):
                caller_of(token)
            costs.append(tuple(statements))
        assert len(set(costs)) == 1
