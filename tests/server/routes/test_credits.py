import re

from server.credits.repository import Ledger
from server.generations import settlement


class TestHistory:
    def test_it_is_a_bare_array(self, api, uow, make_account):
        """The answer is a list of objects in the contract's shape, newest first, of the caller alone."""
        account, other = make_account(credits=20), make_account()
        generation = api.generate(account).json()["generation"]
        api.generate(other)
        entries = api.client.get("/api/credits/history", headers=account.headers).json()
        assert [(entry["type"], entry["amount"], entry["balance"]) for entry in entries] == [
            ("usage", -8, 12),
            ("bonus", 20, 20),
        ]
        usage = entries[0]
        assert re.fullmatch(r"\d+", usage.pop("id"))
        assert usage.pop("createdAt").endswith("Z")
        assert usage == {
            "userId": account.user_id,
            "amount": -8,
            "balance": 12,
            "type": "usage",
            "description": "Avatar generation: FLUX.1-dev Base",
            "referenceId": generation["id"],
            "referenceType": "generation",
            "paymentId": None,
        }
        settlement.cancel(uow, [generation["id"]])
        entries = api.client.get("/api/credits/history", headers=account.headers).json()
        assert (entries[0]["type"], entries[0]["amount"], entries[0]["balance"]) == ("refund", 8, 20)
        assert entries[0]["balance"] == api.balance(account)

    def test_the_last_fifty_are_listed(self, api, uow, make_account):
        """Older changes than the last fifty are left out."""
        account = make_account(credits=0)
        with uow.begin() as tx:
            for _ in range(51):
                Ledger(tx).grant(account.user_id, 1, "One more", account.user_id)
        entries = api.client.get("/api/credits/history", headers=account.headers).json()
        assert [entry["balance"] for entry in entries] == list(range(51, 1, -1))

    def test_it_needs_a_token(self, api):
        """Nobody's history is shown to nobody."""
        api.refused(api.client.get("/api/credits/history"), 401, "AUTHENTICATION_ERROR")
