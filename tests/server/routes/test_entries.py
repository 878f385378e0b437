import json
from datetime import timedelta

import pytest
from sqlalchemy import text

from catalog.orders import Provenance
from catalog.tiers import Tier
from server.entries.repository import Entries
from server.generations.settlement import complete, fail
from server.generations.states import Reason
from server.generations.tables import Generation
from tests.server.stored import provenance_of, stored_image

PREFIXES = ["/api/avatar-creator", "/api/apps/avatar-creator"]
BASE, REALISM, HD, SCHNELL = (
    f"avatar-creator:flux-{name}" for name in ("dev-base", "dev-realism", "dev-hd-realism", "schnell-fast")
)


def change(uow, key, column, value):
    """Change an entry as an operator does, with SQL."""
    with uow.begin() as tx:
        statement = text(f"UPDATE ai_models SET {column} = :value WHERE model_key = :key")  # noqa: S608
        tx.session.execute(statement, {"value": value, "key": key})


class TestPopular:
    def test_it_is_public_and_sorted_by_use(self, api, uow):
        """Without a token the enabled entries are listed, the most used first, with licence and price."""
        with uow.begin() as tx:
            Entries(tx).add_uses(SCHNELL, 1)
        change(uow, REALISM, "enabled", False)  # noqa: FBT003  # the value of a column
        answer = api.client.get("/api/models/popular").json()
        assert answer["success"] is True
        models = answer["data"]["models"]
        assert [model["modelKey"] for model in models[:2]] == [SCHNELL, BASE]
        assert REALISM not in {model["modelKey"] for model in models}
        assert (models[0]["totalUsage"], models[0]["creditCost"], models[0]["quotaCost"]) == (1, 6, 1)
        assert models[0]["capabilities"]["fastMode"] is True
        assert models[1]["capabilities"]["numInferenceSteps"] == 28
        assert models[1]["licence"]["commercial"] is False


class TestModels:
    @pytest.mark.parametrize(
        ("tier", "keys"),
        [
            (Tier.FREE, [BASE]),
            (Tier.BASIC, [BASE, SCHNELL, REALISM]),
            (Tier.PRO, [BASE, SCHNELL, REALISM, HD]),
            (Tier.ENTERPRISE, [BASE, SCHNELL, REALISM, HD]),
        ],
    )
    def test_those_within_reach_are_listed(self, api, make_account, tier, keys):
        """Under both prefixes a user sees the entries up to the own tier, lowest tier and price first."""
        account = make_account(tier)
        for prefix in PREFIXES:
            answer = api.client.get(f"{prefix}/models", headers=account.headers)
            assert answer.status_code == 200
            assert answer.json().keys() == {"models"}
            assert [model["modelKey"] for model in answer.json()["models"]] == keys
        assert answer.json()["models"][0]["capabilities"]["maxWidth"] == 1024

    def test_a_disabled_entry_is_not(self, api, uow, make_account):
        """An entry that an operator has disabled is not on offer."""
        change(uow, BASE, "enabled", False)  # noqa: FBT003  # the value of a column
        answer = api.client.get(f"{PREFIXES[0]}/models", headers=make_account().headers)
        assert answer.json() == {"models": []}

    def test_it_needs_a_token(self, api):
        """What is within reach depends on who asks."""
        api.refused(api.client.get(f"{PREFIXES[0]}/models"), 401, "AUTHENTICATION_ERROR")


class TestUsage:
    @pytest.fixture
    def deliver(self, uow, submit_one, claim):
        """Have a generation drawn; keywords are fields of the request body."""

        def delivered(account, drawn_with=provenance_of, **fields):
            generation = submit_one(account, **fields)
            return complete(uow, claim(), stored_image(), drawn_with(generation), {})

        return delivered

    def usages(self, api, account):
        """Return what the route lists for an account."""
        answer = api.client.get("/api/models/usage", headers=account.headers).json()
        assert answer["success"] is True
        return answer["data"]["usages"]

    def test_each_delivery_is_one_use(self, api, uow, make_account, deliver, submit_one, claim):
        """The caller's completed generations are listed, newest first; no other ones, and nobody else's."""
        account, other = make_account(Tier.BASIC), make_account()
        first = deliver(account)
        second = deliver(account, modelKey=SCHNELL)
        deliver(other)
        submit_one(account)
        fail(uow, claim(), Reason.INTERNAL_ERROR, "broken")
        submit_one(account)
        usages = self.usages(api, account)
        assert [usage["id"] for usage in usages] == [second.id, first.id]
        assert usages[0].pop("createdAt").endswith("Z")
        metadata = json.loads(usages[0].pop("metadata"))
        assert metadata == {
            "width": 512,
            "height": 512,
            "generationId": second.id,
            "avatarId": second.avatar_id,
        }
        assert usages[0] == {
            "id": second.id,
            "userId": account.user_id,
            "appId": "avatar-creator",
            "modelKey": SCHNELL,
            "usageType": "credit",
            "creditUsed": 6,
            "creditsUsed": 6,
            "quotaUsed": None,
            "action": "generate_avatar",
            "model": {"name": "FLUX.1-schnell Fast", "provider": "black-forest-labs", "tier": "basic"},
        }

    def test_credits_are_those_that_were_taken(self, api, make_account, deliver):
        """An image without its adapter is a use at the base price, and one of an enterprise user is free."""

        def without_adapter(generation) -> Provenance:
            return provenance_of(generation, adapter=None)

        basic, enterprise = make_account(Tier.BASIC), make_account(Tier.ENTERPRISE)
        deliver(basic, drawn_with=without_adapter)
        deliver(enterprise)
        assert [usage["creditsUsed"] for usage in self.usages(api, basic)] == [8]
        assert [usage["creditsUsed"] for usage in self.usages(api, enterprise)] == [0]

    def test_an_entry_that_is_gone_leaves_its_name(self, api, owner, make_account, deliver):
        """A use of an entry that is no longer in the catalogue has the name that it had."""
        account = make_account()
        deliver(account)
        with owner.begin() as tx:
            tx.session.execute(text("DELETE FROM ai_models"))
        (usage,) = self.usages(api, account)
        assert usage["model"] == {"name": "FLUX.1-dev Base", "provider": None, "tier": None}

    def test_the_last_hundred_are_listed(self, api, uow, make_account, deliver):
        """Older uses than the last hundred are left out."""
        account = make_account(credits=8)
        first = deliver(account)
        values = {column.key: getattr(first, column.key) for column in Generation.__mapper__.column_attrs}
        later = [
            {"id": f"later-{number:03}", "created_at": first.created_at + timedelta(seconds=number)}
            for number in range(1, 101)
        ]
        with uow.begin() as tx:
            tx.session.add_all(Generation(**(values | changed)) for changed in later)
        usages = self.usages(api, account)
        assert [usage["id"] for usage in usages] == [changed["id"] for changed in reversed(later)]
