from datetime import timedelta

import pytest
from sqlalchemy import update

from catalog.tiers import Tier
from server.clock import now
from server.entries.tables import CatalogEntry
from tests.server.stored import add_avatar

PREFIXES = ["/api/avatar-creator", "/api/apps/avatar-creator"]
PREFIX = PREFIXES[0]


@pytest.fixture
def stats_of(api):
    """Read an account's statistics."""

    def read(account, prefix=PREFIX):
        answer = api.client.get(f"{prefix}/stats", headers=account.headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return read


class TestCounts:
    def test_a_new_user(self, make_account, stats_of):
        """A user without avatars has zeros, no division by them, and an empty list."""
        for prefix in PREFIXES:
            found = stats_of(make_account(), prefix)
            assert found.keys() == {"stats", "creditBalance", "hasEnterpriseUnlimited", "costs"}
            assert found["stats"] == {
                "totalAvatars": 0,
                "totalProjects": 1,
                "recentUploads": 0,
                "totalUsage": 0,
                "averageUsage": 0,
                "topUsedAvatars": [],
            }

    def test_avatars_and_their_uses(self, uow, make_account, stats_of):
        """Avatars and uses are added up; the five most used avatars are named, the most used first."""
        account, other = make_account(), make_account()
        add_avatar(uow, other, usage_count=99)
        avatars = [
            add_avatar(uow, account, name=str(uses), usage_count=uses) for uses in (3, 0, 1, 7, 2, 5, 4)
        ]
        found = stats_of(account)["stats"]
        assert (found["totalAvatars"], found["totalUsage"], found["averageUsage"]) == (7, 22, 3.14)
        assert [one["usageCount"] for one in found["topUsedAvatars"]] == [7, 5, 4, 3, 2]
        assert found["topUsedAvatars"][0] == {"id": avatars[3].id, "name": "7", "usageCount": 7}

    def test_recent_uploads(self, uow, make_account, stats_of):
        """What was uploaded in the last seven days is recent; what was drawn or is older is not."""
        account = make_account()
        for source, days in (("uploaded", 0), ("uploaded", 6.9), ("uploaded", 7.1), ("text_to_image", 0)):
            add_avatar(uow, account, source_type=source, created_at=now() - timedelta(days=days))
        assert stats_of(account)["stats"]["recentUploads"] == 2


class TestCosts:
    def test_by_tier(self, make_account, stats_of, subtests):
        """Each tier sees the lowest price within its reach; enterprise pays for uploads alone."""
        flat = {"uploadAvatar": 2, "editPersona": 0}
        paid = flat | {"fromPreset": 8, "fromReference": 12}
        for tier, costs in (
            (Tier.FREE, paid | {"generateAvatar": 8}),
            (Tier.BASIC, paid | {"generateAvatar": 6}),
            (Tier.PRO, paid | {"generateAvatar": 6}),
            (Tier.ENTERPRISE, flat | {"generateAvatar": 0, "fromPreset": 0, "fromReference": 0}),
        ):
            with subtests.test(tier=tier):
                found = stats_of(make_account(tier))
                assert found["costs"] == costs
                assert found["hasEnterpriseUnlimited"] is (tier is Tier.ENTERPRISE)

    def test_prices_are_those_of_the_database(self, uow, make_account, stats_of):
        """The lowest price follows the catalogue, and is null if no entry is within reach."""
        account = make_account()
        base = update(CatalogEntry).where(CatalogEntry.model_key == "avatar-creator:flux-dev-base")
        with uow.begin() as tx:
            tx.session.execute(base.values(credit_cost=3))
        assert stats_of(account)["costs"]["generateAvatar"] == 3
        with uow.begin() as tx:
            tx.session.execute(base.values(enabled=False))
        assert stats_of(account)["costs"]["generateAvatar"] is None

    def test_the_balance_is_what_can_be_spent(self, api, make_account, stats_of):
        """Held credits are not part of the balance."""
        account = make_account()
        api.generate(account)
        assert stats_of(account)["creditBalance"] == 92
