import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from server.accounts.repository import Users
from server.accounts.tables import User
from server.clock import now
from tests.server.signing import SESSION_SECRET, bearer, signed

PREFIX = "/api/avatar-creator"
PROJECTS = f"{PREFIX}/projects"
INVALID = (401, "TOKEN_INVALID")
EXPIRED = (401, "TOKEN_EXPIRED")


@pytest.fixture
def api(open_api):
    """The application, with the secret of the platform's session tokens."""
    with open_api(auth_jwt_secret=SESSION_SECRET) as opened:
        yield opened


def answer_to(api, token):
    """Return the status and the code of the answer to a token."""
    answer = api.client.get(PROJECTS, headers={"Authorization": b"Bearer " + token})
    return answer.status_code, answer.json().get("error", {}).get("code")


def users(uow):
    with uow.read() as tx:
        return tx.session.scalar(select(func.count()).select_from(User))


class TestSessionTokens:
    def test_a_new_user_can_work_at_once(self, api):
        """A user whom this server never saw has the welcome credits and can create, generate and read."""
        headers = bearer(signed("ada"))
        balance = api.client.get("/api/credits/balance", headers=headers).json()
        assert balance == {"success": True, "data": {"balance": 100}}
        project = api.client.post(PROJECTS, json={"name": "Mine"}, headers=headers).json()["project"]
        assert project["userId"] == "ada"
        body = {"name": "Ada", "prompt": "portrait of a woman"}
        path = f"{PROJECTS}/{project['id']}/avatars/generate"
        accepted = api.client.post(path, json=body, headers=headers).json()
        assert (accepted["creditUsed"], accepted["creditBalance"]) == (8, 92)
        read = api.client.get(f"{PREFIX}/generations/{accepted['generation']['id']}", headers=headers)
        assert read.json()["generation"]["status"] == "pending"

    def test_users_see_only_their_own(self, api):
        """Two users' session tokens open different projects, though the tokens have the same email."""
        ada, bob = bearer(signed("ada")), bearer(signed("bob"))
        project = api.client.post(PROJECTS, json={"name": "Mine"}, headers=ada).json()["project"]
        assert api.client.get(f"{PROJECTS}/{project['id']}", headers=ada).status_code == 200
        api.refused(api.client.get(f"{PROJECTS}/{project['id']}", headers=bob), 404, "RESOURCE_NOT_FOUND")

    @pytest.mark.parametrize(
        ("claims", "code"),
        [
            ({"iat": 1, "exp": 2}, "TOKEN_EXPIRED"),
            ({"exp": None}, "TOKEN_INVALID"),
            ({"secret": "s" * 32}, "TOKEN_INVALID"),
            ({"user_id": 7}, "TOKEN_INVALID"),
            ({"user_id": "a\0"}, "TOKEN_INVALID"),
            ({"extra": "x" * 5000}, "TOKEN_INVALID"),
            ({"algorithm": "HS512", "secret": "s" * 64}, "TOKEN_INVALID"),
        ],
    )
    def test_a_bad_token_is_refused_in_the_contracts_shape(self, api, uow, claims, code):
        """An old, forged, malformed or huge token is a 401 that names the scheme, and makes no user."""
        answer = api.client.get(PROJECTS, headers=bearer(signed(**claims)))
        api.refused(answer, 401, code)
        assert answer.headers["www-authenticate"] == "Bearer"
        assert users(uow) == 0

    def test_without_a_secret_they_are_invalid(self, open_api):
        """A server that has no secret refuses session tokens like unknown keys."""
        with open_api() as api:
            api.refused(api.client.get(PROJECTS, headers=bearer(signed())), 401, "TOKEN_INVALID")

    def test_a_deleted_user_is_refused(self, api, uow):
        """From the deletion on a user's session token is TOKEN_INVALID on every route."""
        headers = bearer(signed("ada"))
        assert api.client.get(PROJECTS, headers=headers).status_code == 200
        with uow.begin() as tx:
            Users(tx).delete(Users(tx).find("ada"))
        for path in (PROJECTS, "/api/keys", "/api/credits/balance"):
            api.refused(api.client.get(path, headers=headers), 401, "TOKEN_INVALID")

    def test_a_token_is_not_logged(self, api, log_lines):
        """Neither an accepted nor a refused session token, nor the email in it, reaches the log."""
        tokens = [signed("ada"), signed("bob"), signed("eve", secret="s" * 32), signed("old", iat=1, exp=2)]
        for token in tokens:
            api.client.get(PROJECTS, headers=bearer(token))
        logged = str(log_lines())
        assert "user.welcomed" in logged
        for secret in (*tokens, "ada@example.com", SESSION_SECRET):
            assert secret not in logged


class TestKeys:
    def test_revoked_and_expired_keys(self, api, uow, make_account):
        """A revoked key is TOKEN_INVALID, an expired one TOKEN_EXPIRED."""
        account = make_account()
        with uow.begin() as tx:
            Users(tx).revoke_keys(account.user_id)
            expired = Users(tx).mint_key(account.user_id, "expired", now()).token
        assert answer_to(api, account.token.encode()) == INVALID
        assert answer_to(api, expired.encode()) == EXPIRED

    def test_uses_are_written_when_the_process_ends(self, open_api, uow, make_account):
        """A key that was used has the time of its use once the process has ended."""
        account = make_account()
        with open_api() as api:
            assert api.client.get(PROJECTS, headers=account.headers).status_code == 200
        with uow.read() as tx:
            (key,) = Users(tx).keys_of(account.user_id)
        assert key.last_used_at is not None


class TestAnyToken:
    FEW = settings(
        max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
    )
    VALID = signed("ada").encode()

    @FEW
    @given(st.binary(max_size=200))
    def test_random_bytes_are_refused(self, api, token):
        """Any bytes as a token are a 401 and never a 5xx."""
        assert answer_to(api, token) in {INVALID, (401, "AUTHENTICATION_ERROR")}

    @FEW
    @given(st.data())
    def test_a_changed_token_is_refused(self, api, uow, data):
        """A valid token in which some bytes are changed is a 401, never a 5xx, and makes no user."""
        start = data.draw(st.integers(0, len(self.VALID) - 1))
        end = data.draw(st.integers(start, min(len(self.VALID), start + 6)))
        token = self.VALID[:start] + data.draw(st.binary(max_size=6)) + self.VALID[end:]
        if token.strip() != self.VALID:
            assert answer_to(api, token) in {INVALID, (401, "AUTHENTICATION_ERROR")}
            assert users(uow) == 0
