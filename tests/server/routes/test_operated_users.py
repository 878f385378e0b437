import pytest

from catalog.tiers import Tier
from server.accounts import service as accounts
from server.accounts.keys import MAX_VALID_KEYS
from tests.databases import ONE_DATABASE
from tests.server.routes.test_operate import OPERATE

USERS = f"{OPERATE}/users"


@pytest.fixture
def ask(api, operator):
    """Send a request of the operator's about users and return the answer's body."""

    def ask(method, path="", body=None, status=200, **params):
        answer = api.client.request(method, USERS + path, json=body, params=params, headers=operator.headers)
        assert answer.status_code == status, answer.text
        return answer.json()

    return ask


class TestFinding:
    def test_the_newest_first(self, ask, make_account, operator):
        """The newest users are listed with tier and credits, as many as are asked for."""
        newest = make_account(credits=7)
        [first, second] = ask("GET", limit=2)["users"]
        assert (first["id"], first["available"], first["held"]) == (newest.user_id, 7, 0)
        assert (second["id"], second["isOperator"]) == (operator.user_id, True)
        assert len(ask("GET", limit=1)["users"]) == 1

    def test_by_the_beginning(self, ask, uow):
        """Users are found by how their id or email begins; percent signs and underscores are letters."""
        for number, (user_id, email) in enumerate(
            [("ada_1", "x@example.org"), ("adab1", None), ("bob", "Ada_1@example.org")]
        ):
            accounts.register(
                uow, email=email, tier=Tier.FREE, granted=number, reason="r", key_label="k", user_id=user_id
            )
        assert {user["id"] for user in ask("GET", beginning="ada_")["users"]} == {"ada_1", "bob"}
        assert ask("GET", beginning="%")["users"] == []

    def test_bad_questions(self, ask):
        """A limit beyond its bounds is a 400 that names it."""
        for limit in (0, 101, "x"):
            assert ask("GET", limit=limit, status=400)["error"]["field"] == "limit"


class TestTier:
    def test_a_tier_holds_at_once(self, api, ask, make_account):
        """A user who is moved to another tier has its entries with the next request."""
        user = make_account()
        ask("PUT", f"/{user.user_id}", {"tier": "pro"})
        answer = api.generate(user, modelKey="avatar-creator:flux-dev-realism")
        assert answer.json()["creditUsed"] == 12

    @ONE_DATABASE
    @pytest.mark.parametrize("tier", [None, "", "gold", "PRO", 1])
    def test_a_bad_tier(self, ask, make_account, tier):
        """What is no tier is a 400 that names the field."""
        user = make_account()
        assert ask("PUT", f"/{user.user_id}", {"tier": tier}, status=400)["error"]["field"] == "tier"

    def test_an_unknown_user(self, ask):
        """A user who does not exist is a 404 on each route."""
        for method, path, body in (
            ("PUT", "/none", {"tier": "pro"}),
            ("POST", "/none/grants", {"amount": 1, "reference": "r"}),
            ("GET", "/none/keys", None),
            ("POST", "/none/keys", {"label": "x"}),
            ("DELETE", "/none/keys/x", None),
        ):
            assert ask(method, path, body, status=404)["error"]["code"] == "RESOURCE_NOT_FOUND"


@pytest.mark.usefixtures("books_that_balance")
class TestGrants:
    def test_a_repeated_grant_is_made_once(self, api, ask, make_account):
        """A grant that is sent again under its reference is not made again, and the answer says so."""
        user = make_account(credits=1)
        grant = {"amount": 10, "reference": "ticket 1", "reason": "Sorry"}
        first, again = (ask("POST", f"/{user.user_id}/grants", grant) for _ in range(2))
        assert (first["balance"], first["repeated"]) == (11, False)
        assert (again["balance"], again["repeated"]) == (11, True)
        assert api.balance(user) == 11
        history = api.client.get("/api/credits/history", headers=user.headers).json()
        assert history[0]["description"] == "Sorry"

    def test_another_amount_under_the_reference(self, ask, make_account):
        """Another amount under the same reference is a 409, and grants nothing."""
        user = make_account(credits=1)
        ask("POST", f"/{user.user_id}/grants", {"amount": 10, "reference": "r"})
        error = ask("POST", f"/{user.user_id}/grants", {"amount": 11, "reference": "r"}, status=409)["error"]
        assert error["code"] == "CONFLICT"

    def test_the_log_names_the_operator(self, ask, operator, make_account, log_lines):
        """Who granted whom how much stands in the log."""
        user = make_account()
        ask("POST", f"/{user.user_id}/grants", {"amount": 10, "reference": "r"})
        [line] = [line for line in log_lines() if line["event"] == "credits.granted"]
        expected = {"operator": operator.user_id, "user_id": user.user_id, "credits": 10}
        assert line.items() >= expected.items()

    @ONE_DATABASE
    @pytest.mark.parametrize(
        ("body", "field"),
        [
            *(({"amount": amount, "reference": "r"}, "amount") for amount in (0, -1, 2**31, 1.5, "1", None)),
            ({"amount": 1}, "reference"),
            ({"amount": 1, "reference": " "}, "reference"),
            ({"amount": 1, "reference": "r" * 101}, "reference"),
            ({"amount": 1, "reference": "r", "reason": "r" * 301}, "reason"),
        ],
        ids=str,
    )
    def test_a_bad_grant(self, api, ask, make_account, body, field):
        """A grant that breaks a rule is a 400 that names the field, and grants nothing."""
        user = make_account()
        assert ask("POST", f"/{user.user_id}/grants", body, status=400)["error"]["field"] == field
        assert api.balance(user) == 100


class TestKeys:
    def test_issued_listed_and_revoked(self, api, ask, make_account):
        """A key that an operator issues is the user's own, until the operator revokes it."""
        user = make_account()
        made = ask("POST", f"/{user.user_id}/keys", {"label": "ci"})
        headers = {"Authorization": f"Bearer {made['token']}"}
        assert api.client.get("/api/me", headers=headers).json()["userId"] == user.user_id
        assert made["key"]["id"] in {key["id"] for key in ask("GET", f"/{user.user_id}/keys")["keys"]}
        ask("DELETE", f"/{user.user_id}/keys/{made['key']['id']}")
        assert api.client.get("/api/me", headers=headers).status_code == 401

    def test_another_users_key_is_left(self, api, ask, make_account):
        """A key is revoked only under its own user's name."""
        one, other = make_account(), make_account()
        made = ask("POST", f"/{one.user_id}/keys", {"label": "ci"})
        ask("DELETE", f"/{other.user_id}/keys/{made['key']['id']}", status=404)
        headers = {"Authorization": f"Bearer {made['token']}"}
        assert api.client.get("/api/me", headers=headers).status_code == 200

    def test_one_too_many(self, ask, make_account):
        """A user who has as many keys as a user may have gets no more from operators either."""
        user = make_account()
        for _ in range(MAX_VALID_KEYS - 1):  # the account has one
            ask("POST", f"/{user.user_id}/keys", {"label": "ci"})
        assert (
            ask("POST", f"/{user.user_id}/keys", {"label": "ci"}, status=409)["error"]["code"] == "CONFLICT"
        )
