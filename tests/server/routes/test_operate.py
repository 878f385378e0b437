import pytest

from server.accounts import service as accounts
from server.scheduling.registry import Reported, WorkerRegistry
from tests.databases import ONE_DATABASE

OPERATE = "/api/operate"
BASE = "avatar-creator:flux-dev-base"


@pytest.fixture
def ask(api, operator):
    """Send a request of the operator's and return the answer."""

    def ask(method, path, body=None, status=200):
        answer = api.client.request(method, OPERATE + path, json=body, headers=operator.headers)
        assert answer.status_code == status, answer.text
        return answer

    return ask


class TestWhoMay:
    @ONE_DATABASE
    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("GET", "", None),
            ("PUT", f"/entries/{BASE}", {"enabled": False}),
            ("GET", "/users", None),
            ("PUT", "/users/{user}", {"tier": "enterprise"}),
            ("POST", "/users/{user}/grants", {"amount": 5, "reference": "r"}),
            ("GET", "/users/{user}/keys", None),
            ("POST", "/users/{user}/keys", {"label": "x"}),
            ("DELETE", "/users/{user}/keys/x", None),
        ],
    )
    def test_only_operators(self, api, make_account, method, path, body):
        """Whoever is no operator gets a 403, and nothing is changed, not even the caller's own tier."""
        account = make_account()
        place = OPERATE + path.format(user=account.user_id)
        answer = api.client.request(method, place, json=body, headers=account.headers)
        api.refused(answer, 403, "ACCESS_DENIED")
        assert api.balance(account) == 100
        assert accounts.show(api.uow, account.user_id).user.tier == "free"

    @ONE_DATABASE
    def test_a_token_is_needed(self, api, subtests):
        """Without a token, and with a wrong one, each route for operators is a 401."""
        routes = [route for route in api.client.app.routes if route.path.startswith(OPERATE)]
        assert len(routes) >= 6
        for route in routes:
            for method in route.methods - {"OPTIONS"}:
                for headers in ({}, {"Authorization": "Bearer ac_wrong"}):
                    with subtests.test(method=method, path=route.path, headers=headers):
                        path = route.path_format.format(key=BASE, user_id="ada", key_id="x")
                        assert api.client.request(method, path, headers=headers).status_code == 401

    def test_the_caller_is_told(self, api, make_account, operator):
        """GET /api/me says who the caller is, and whether an operator."""
        found = [api.client.get("/api/me", headers=one.headers).json() for one in (make_account(), operator)]
        assert [one["isOperator"] for one in found] == [False, True]
        assert found[1] == {"userId": operator.user_id, "tier": "free", "isOperator": True}

    def test_no_longer(self, api, ask, operator):
        """Whoever is no operator any more is refused at the next request."""
        ask("GET", "")
        accounts.set_operator(api.uow, operator.user_id, is_operator=False)
        ask("GET", "", status=403)


class TestLook:
    def test_the_state_of_the_service(self, api, ask, make_account, submit_one):
        """Workers, queue, entries, spending and ledger are there, in units that their names tell."""
        submit_one(make_account())
        with api.uow.begin() as tx:
            card = Reported("cuda:0 Card", 3 * 2**20, 8 * 2**20, ["model"])
            WorkerRegistry(tx).record_heartbeat("gpu-1", "local", accepts=False, reported=card)
        found = ask("GET", "").json()
        [worker] = found["workers"]
        assert (
            worker.items()
            >= {
                "name": "gpu-1",
                "state": "resting",
                "device": "cuda:0 Card",
                "memoryUsedMib": 3,
                "memoryTotalMib": 8,
                "resident": ["model"],
                "drawing": 0,
            }.items()
        )
        assert found["queue"][0]["tier"] == "free"
        assert found["queue"][0]["waiting"] == 1
        assert found["creditsHeld"] == 8
        assert found["hosted"] == {"spentUsd": 0, "budgetUsd": None}
        assert found["status"] == "unavailable"
        assert "No worker is ready" in found["checks"]["workers"]
        assert found["entries"][0]["modelKey"] == BASE


class TestEntries:
    def test_a_price_holds_for_the_next_order(self, api, ask, make_account):
        """A new price is asked of the next generation, and the log names the operator and both prices."""
        account = make_account()
        ask("PUT", f"/entries/{BASE}", {"creditCost": 5})
        assert api.generate(account).json()["creditUsed"] == 5

    def test_taken_off_the_offer(self, api, ask, make_account):
        """An entry that is taken off is refused to whoever names it, until it is back."""
        account = make_account()
        ask("PUT", f"/entries/{BASE}", {"enabled": False})
        api.refused(api.generate(account, modelKey=BASE), 400, "VALIDATION_ERROR", "modelKey")
        ask("PUT", f"/entries/{BASE}", {"enabled": True})
        assert api.generate(account, modelKey=BASE).status_code == 200

    def test_the_log_names_the_operator(self, ask, operator, log_lines):
        """Who changed what, from what to what, stands in the log."""
        ask("PUT", f"/entries/{BASE}", {"creditCost": 5})
        [line] = [line for line in log_lines() if line["event"] == "entry.changed"]
        assert line.items() >= {"operator": operator.user_id, "entry": BASE}.items()
        assert (line["before"], line["after"]) == ({"credit_cost": 8}, {"credit_cost": 5})

    @ONE_DATABASE
    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({}, "creditCost"),
            ({"creditCost": None}, "creditCost"),
            ({"creditCost": -1}, "creditCost"),
            ({"creditCost": 2**31}, "creditCost"),
            ({"creditCost": 1.5}, "creditCost"),
            ({"creditCost": "5"}, "creditCost"),
            ({"enabled": "no"}, "enabled"),
        ],
        ids=str,
    )
    def test_a_bad_change_is_refused_by_name(self, api, ask, body, field):
        """A change that breaks a rule is a 400 that names the field."""
        api.refused(ask("PUT", f"/entries/{BASE}", body, status=400), 400, "VALIDATION_ERROR", field)

    def test_an_unknown_entry(self, api, ask):
        """An entry that does not exist is a 404 that names those that do."""
        error = api.refused(
            ask("PUT", "/entries/none", {"enabled": True}, status=404), 404, "RESOURCE_NOT_FOUND"
        )
        assert BASE in error["message"]
