from datetime import datetime, timedelta

import pytest

from server.accounts.repository import Users
from server.clock import now
from tests.databases import ONE_DATABASE
from tests.server.conftest import TIMESTAMP
from tests.server.signing import SESSION_SECRET, bearer, signed

KEYS = "/api/keys"


@pytest.fixture
def api(open_api):
    """The application, with the secret of the platform's session tokens."""
    with open_api(auth_jwt_secret=SESSION_SECRET) as opened:
        yield opened


@pytest.fixture(params=["key", "session token"])
def headers(request, make_account):
    """The headers of a user who signs in by a key or by a session token."""
    return make_account().headers if request.param == "key" else bearer(signed("ada"))


def create(api, headers, **body):
    """Issue a key over HTTP and return the answer's body."""
    answer = api.client.post(KEYS, json={"label": "laptop"} | body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def listed(api, headers):
    answer = api.client.get(KEYS, headers=headers)
    assert answer.status_code == 200
    assert answer.json().keys() == {"keys"}
    return answer.json()["keys"]


class TestCreate:
    def test_the_token_is_shown_once_and_works(self, api, headers):
        """A new key's token comes with the answer alone, and authenticates the same user."""
        made = create(api, headers, label="  my   laptop ")
        assert made.keys() == {"message", "key", "token"}
        assert made["token"].startswith(made["key"]["prefix"])
        assert made["key"]["label"] == "my laptop"
        assert (made["key"]["lastUsedAt"], made["key"]["expiresAt"]) == (None, None)
        own = {"Authorization": f"Bearer {made['token']}"}
        assert listed(api, own) == listed(api, headers)
        assert made["token"] not in str(listed(api, headers))

    def test_a_key_may_expire(self, api, headers):
        """A key for thirty days expires then."""
        made = create(api, headers, expiresInDays=30)
        expires = datetime.fromisoformat(made["key"]["expiresAt"])
        assert TIMESTAMP.fullmatch(made["key"]["expiresAt"])
        assert timedelta(days=29, hours=23) < expires - now() <= timedelta(days=30)

    @ONE_DATABASE
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            *(("label", value) for value in (None, "", "  ", "x" * 65, 7, ["x"], "a\0b")),
            *(("expiresInDays", value) for value in (0, -1, 3651, 10**30, "7", 1.5, True, [7])),
        ],
        ids=str,
    )
    def test_a_bad_field_is_refused_by_name(self, api, make_account, field, value):
        """A label or a lifetime that breaks its rule is a 400 that names it, and issues nothing."""
        account = make_account()
        body = {name: each for name, each in ({"label": "x"} | {field: value}).items() if each is not None}
        answer = api.client.post(KEYS, json=body, headers=account.headers)
        api.refused(answer, 400, "VALIDATION_ERROR", field)
        assert len(listed(api, account.headers)) == 1

    def test_a_user_has_only_so_many(self, api, uow, make_account):
        """The twenty-first valid key is a 409 that tells the limit; after a revocation there is room."""
        account = make_account()
        with uow.begin() as tx:
            for _ in range(19):
                Users(tx).mint_key(account.user_id, "test")
        answer = api.client.post(KEYS, json={"label": "one more"}, headers=account.headers)
        assert "at most 20" in api.refused(answer, 409, "CONFLICT")["message"]
        oldest = listed(api, account.headers)[0]["id"]
        assert api.client.delete(f"{KEYS}/{oldest}", headers=account.headers).status_code == 200
        create(api, account.headers)


class TestList:
    def test_the_newest_first(self, api, headers):
        """Every key has exactly these fields, and the newest comes first."""
        before = listed(api, headers)
        made = [create(api, headers, label=label)["key"] for label in ("first", "second")]
        assert listed(api, headers) == [*reversed(made), *before]
        fields = {"id", "label", "prefix", "createdAt", "lastUsedAt", "expiresAt"}
        assert all(key.keys() == fields for key in listed(api, headers))


class TestRevoke:
    def test_a_revoked_key_is_gone_and_invalid(self, api, headers):
        """A revoked key leaves the list, its token is TOKEN_INVALID, and a second revocation is a 404."""
        made = create(api, headers)
        path = f"{KEYS}/{made['key']['id']}"
        answer = api.client.delete(path, headers=headers)
        assert (answer.status_code, answer.json()) == (200, {"message": "API key revoked successfully"})
        assert made["key"] not in listed(api, headers)
        own = {"Authorization": f"Bearer {made['token']}"}
        api.refused(api.client.get(KEYS, headers=own), 401, "TOKEN_INVALID")
        api.refused(api.client.delete(path, headers=headers), 404, "RESOURCE_NOT_FOUND")

    def test_another_users_key_is_not_found(self, api, make_account, headers):
        """Another user's key is a 404 like one that there never was, and stays valid."""
        other = make_account()
        (theirs,) = listed(api, other.headers)
        for key_id in (theirs["id"], "none", "x" * 300, "%F0%9F%98%80", "%ff"):
            error = api.refused(
                api.client.delete(f"{KEYS}/{key_id}", headers=headers), 404, "RESOURCE_NOT_FOUND"
            )
            assert error["message"] == "API key not found"
        assert listed(api, other.headers) == [theirs]

    def test_a_key_may_revoke_itself(self, api, make_account):
        """A user with one key can end it by its own token."""
        account = make_account()
        (own,) = listed(api, account.headers)
        assert api.client.delete(f"{KEYS}/{own['id']}", headers=account.headers).status_code == 200
        api.refused(api.client.get(KEYS, headers=account.headers), 401, "TOKEN_INVALID")


class TestWho:
    def test_without_a_token_all_is_refused(self, api):
        """The routes of keys want a token."""
        for method, path in (("GET", KEYS), ("POST", KEYS), ("DELETE", f"{KEYS}/1")):
            api.refused(api.client.request(method, path, json={"label": "x"}), 401, "AUTHENTICATION_ERROR")
