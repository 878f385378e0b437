"""Signing in to the page: the code of a link becomes a key, once."""

import json
from datetime import timedelta

import pytest

from catalog.tiers import Tier
from server.accounts import service as accounts
from server.accounts import sign_in
from server.accounts.keys import MAX_VALID_KEYS
from server.accounts.repository import Users
from server.accounts.tables import SignInCode
from server.clock import now
from tests.databases import ONE_DATABASE

SIGN_IN = "/api/sign-in"
URL = "https://avatars.example.com"


@pytest.fixture
def code_for(uow):
    """Make a link for an account and return its code."""

    def made(account):
        link = sign_in.link(uow, account.user_id, URL)
        address, _, code = link.partition("/#code=")
        assert address == URL
        return code

    return made


def exchange(api, code):
    return api.client.post(SIGN_IN, json={"code": code})


def keys_of(api, headers):
    return api.client.get("/api/keys", headers=headers).json()["keys"]


class TestExchange:
    def test_a_code_becomes_a_key_of_its_user(self, api, make_account, code_for):
        """The key is its user's, is labelled `page`, and expires."""
        account = make_account(credits=37)
        answer = exchange(api, code_for(account))
        assert answer.status_code == 200
        made = answer.json()
        own = {"Authorization": f"Bearer {made['token']}"}
        assert api.client.get("/api/credits/balance", headers=own).json()["data"]["balance"] == 37
        assert made["key"]["label"] == "page"
        assert made["key"]["expiresAt"] is not None
        assert made["key"] in keys_of(api, account.headers)

    def test_a_code_is_valid_once(self, api, make_account, code_for):
        """The second exchange is refused, and issues no key."""
        account = make_account()
        code = code_for(account)
        assert exchange(api, code).status_code == 200
        error = api.refused(exchange(api, code), 401, "TOKEN_INVALID")
        assert "used already" in error["message"]
        assert len(keys_of(api, account.headers)) == 2

    def test_of_two_at_once_one_gets_the_key(self, uow, make_account, code_for, at_once):
        """Eight browsers that use a code at the same moment get one key together."""
        account = make_account()
        code = code_for(account)
        outcomes = at_once(8, lambda: sign_in.exchange(uow, code).stored.label)
        assert outcomes.count("page") == 1
        with uow.read() as tx:
            assert Users(tx).valid_keys(account.user_id) == 2

    def test_an_old_code_is_refused(self, api, uow, make_account, code_for):
        """A day after it was made a code signs nobody in, and the next code that is made removes it."""
        account = make_account()
        code = code_for(account)
        with uow.begin() as tx:
            (stored,) = tx.session.query(SignInCode).all()
            assert timedelta(hours=23) < stored.expires_at - now() <= timedelta(hours=24)
            stored.expires_at = now()
        api.refused(exchange(api, code), 401, "TOKEN_INVALID")
        code_for(account)
        with uow.read() as tx:
            assert tx.session.query(SignInCode).count() == 1

    def test_a_deleted_user_is_not_signed_in(self, api, uow, make_account, code_for):
        """The links of a deleted user are worth nothing."""
        account = make_account()
        code = code_for(account)
        accounts.delete(uow, account.user_id)
        api.refused(exchange(api, code), 401, "TOKEN_INVALID")

    @ONE_DATABASE
    @pytest.mark.parametrize("body", [{}, {"code": ""}, {"code": 7}, {"code": "x" * 129}, {"code": None}])
    def test_what_is_no_code_is_refused(self, api, body):
        """A body without a code of a possible length names the field."""
        api.refused(api.client.post(SIGN_IN, json=body), 400, "VALIDATION_ERROR", "code")


class TestKeys:
    def test_the_oldest_browser_makes_room(self, api, make_account, code_for):
        """The eleventh browser revokes the first one's key, and no key of a program."""
        account = make_account()
        tokens = [exchange(api, code_for(account)).json()["token"] for _ in range(sign_in.BROWSERS + 1)]
        valid = [
            api.client.get("/api/keys", headers={"Authorization": f"Bearer {token}"}).is_success
            for token in tokens
        ]
        assert valid == [False] + [True] * sign_in.BROWSERS
        assert [key["label"] for key in keys_of(api, account.headers)].count("test") == 1

    @ONE_DATABASE
    def test_too_many_keys_of_programs(self, api, uow, make_account, code_for):
        """If programs have all of a user's keys the browser is told so, and the link stays valid."""
        account = make_account()
        while len(keys_of(api, account.headers)) < MAX_VALID_KEYS:
            accounts.create_key(uow, account.user_id, "program")
        code = code_for(account)
        api.refused(exchange(api, code), 409, "CONFLICT")
        accounts.revoke_keys(uow, account.user_id)
        assert exchange(api, code).status_code == 200


@ONE_DATABASE
class TestSecrecy:
    def test_no_log_has_a_code(self, open_api, make_account, code_for, log_lines):
        """Neither a good nor a bad code is logged, and the database has only the digest of one."""
        account = make_account(Tier.PRO)
        codes = [code_for(account), "a-code-that-was-never-made"]
        with open_api() as api:
            statuses = [exchange(api, code).status_code for code in codes]
        assert statuses == [200, 401]
        logged = json.dumps(log_lines())
        assert "/api/sign-in" in logged
        for code in codes:
            assert code not in logged

    def test_an_address_that_asks_too_often_waits(self, open_api):
        """Signing in counts as a request without a token."""
        with open_api(rate_limits="on", rate_limit_anonymous="3/minute") as api:
            assert [exchange(api, "wrong").status_code for _ in range(4)] == [401, 401, 401, 429]
