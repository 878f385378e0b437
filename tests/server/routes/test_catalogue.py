"""What the catalogue offers a caller, and dry runs."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from catalog.tiers import Tier
from server.clock import now
from server.entries.tables import CatalogEntry
from server.generations import settlement
from server.generations.tables import Generation
from server.scheduling.registry import WorkerRegistry
from tests.server.conftest import TIMESTAMP
from tests.server.stored import provenance_of, stored_image

PREFIX = "/api/avatar-creator"
BASE, REALISM = "avatar-creator:flux-dev-base", "avatar-creator:flux-dev-realism"


def catalogue(api, account):
    """Return the offers by their short keys."""
    answer = api.client.get(f"{PREFIX}/catalogue", headers=account.headers)
    assert answer.status_code == 200, answer.text
    return {offer["shortKey"]: offer for offer in answer.json()["catalogue"]}


def dry_run(api, account, **fields):
    """Ask what a generation would be."""
    path = f"{PREFIX}/projects/{account.project_id}/avatars/generate?dryRun=true"
    body = {"name": "Ada", "prompt": "portrait of a person", **fields}
    return api.client.post(path, json=body, headers=account.headers)


@pytest.fixture
def draw(uow, submit_one, claim):
    """Deliver an image that took so many seconds."""

    def deliver(account, seconds, **fields):
        generation = submit_one(account, **fields)
        settlement.complete(uow, claim(), stored_image(), provenance_of(generation), {})
        started_at = now() - timedelta(seconds=seconds)
        times = {"started_at": started_at, "completed_at": started_at + timedelta(seconds=seconds)}
        with uow.begin() as tx:
            tx.session.execute(update(Generation).where(Generation.id == generation.id).values(**times))

    return deliver


class TestCatalogue:
    def test_what_a_basic_user_is_offered(self, api, make_account):
        """Every entry is there with its price, its limits and its licence, and why it cannot be used."""
        offers = catalogue(api, make_account(Tier.BASIC))
        assert list(offers) == [
            "flux-dev-base",
            "flux-schnell-fast",
            "flux-dev-realism",
            "flux-dev-hd-realism",
        ]
        assert [offer["creditCost"] for offer in offers.values()] == [8, 6, 12, 15]
        assert [offer["usable"] for offer in offers.values()] == [True, True, True, False]
        hd = offers["flux-dev-hd-realism"]
        assert hd["reason"] == "It needs the pro tier; this account is basic"
        assert hd["size"] == {
            "width": 1024,
            "height": 1024,
            "minSide": 512,
            "maxWidth": 1536,
            "maxHeight": 1536,
            "step": 16,
        }
        assert hd["licence"]["commercial"] is False
        assert offers["flux-schnell-fast"]["licence"]["commercial"] is True
        assert hd["modelKey"] == "avatar-creator:flux-dev-hd-realism"

    def test_enterprise_pays_nothing(self, api, make_account):
        """For enterprise every price is 0 and every entry is usable."""
        offers = catalogue(api, make_account(Tier.ENTERPRISE)).values()
        assert {offer["creditCost"] for offer in offers} == {0}
        assert all(offer["usable"] and offer["reason"] is None for offer in offers)

    def test_a_disabled_entry(self, api, make_account, uow):
        """An entry that the operator has disabled is listed as such."""
        with uow.begin() as tx:
            tx.session.execute(
                update(CatalogEntry).where(CatalogEntry.model_key == BASE).values(enabled=False)
            )
        base = catalogue(api, make_account())["flux-dev-base"]
        assert (base["usable"], base["reason"]) == (False, "The operator has disabled this model")

    def test_times_are_those_of_this_server(self, api, make_account, draw):
        """Before five images of a size the catalogue's range is the estimate, then what they took."""
        account = make_account(credits=100)
        unknown = {"p50": 37.5, "p90": 45.0, "measured": False}
        for seconds in (1, 2, 3, 4):
            draw(account, seconds)
        draw(account, 100, width=1024)  # another size class
        assert catalogue(api, account)["flux-dev-base"]["estimatedSeconds"] == unknown
        draw(account, 5)
        measured = catalogue(api, account)["flux-dev-base"]["estimatedSeconds"]
        assert measured == {"p50": 3.0, "p90": 4.6, "measured": True}

    def test_a_time_that_cannot_be_read(self, api, make_account, uow):
        """Where the operator wrote another kind of time, there is no estimate."""
        with uow.begin() as tx:
            row = tx.session.get(CatalogEntry, ("avatar-creator", BASE))
            row.capabilities = row.capabilities | {"processingTime": "soon"}
        assert catalogue(api, make_account())["flux-dev-base"]["estimatedSeconds"] is None


class TestDryRun:
    def test_what_it_would_be(self, api, make_account, uow):
        """A dry run answers entry, size, price and estimates, and holds and queues nothing."""
        account = make_account(Tier.BASIC, credits=20)
        with uow.begin() as tx:
            WorkerRegistry(tx).record_heartbeat("gpu-1", "local", accepts=True, mean_duration_s=4.0)
        answer = dry_run(api, account)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert body.pop("quoteId")
        assert TIMESTAMP.fullmatch(body.pop("quoteExpiresAt"))
        assert body == {
            "dryRun": True,
            "modelKey": REALISM,
            "modelName": "FLUX.1-dev + Realism LoRA",
            "width": 768,
            "height": 768,
            "creditCost": 12,
            "creditBalance": 20,
            "sufficientCredits": True,
            "estimatedWaitSeconds": 0.0,
            "estimatedSeconds": {"p50": 52.5, "p90": 60.0, "measured": False},
        }
        api.nothing_happened(account, balance=20)

    def test_the_wait(self, api, make_account, submit_one, uow):
        """The wait grows with what is queued; without a worker it is unknown."""
        account = make_account(credits=100)
        for _ in range(3):
            submit_one(account)
        assert dry_run(api, account).json()["estimatedWaitSeconds"] is None
        with uow.begin() as tx:
            for name in ("gpu-1", "gpu-2"):
                WorkerRegistry(tx).record_heartbeat(name, "local", accepts=True, mean_duration_s=4.0)
        assert dry_run(api, account).json()["estimatedWaitSeconds"] == 6.0

    def test_too_few_credits(self, api, make_account):
        """A dry run of what cannot be paid says so and is no error."""
        answer = dry_run(api, make_account(credits=7))
        assert (answer.status_code, answer.json()["sufficientCredits"]) == (200, False)

    @pytest.mark.parametrize(
        ("fields", "status", "code", "field"),
        [
            ({"modelKey": "flux"}, 400, "VALIDATION_ERROR", "modelKey"),
            ({"modelKey": "flux-dev-hd-realism"}, 403, "ACCESS_DENIED", "modelKey"),
            ({"width": 513}, 400, "VALIDATION_ERROR", "width"),
            ({"quality": "best"}, 400, "VALIDATION_ERROR", "quality"),
        ],
    )
    def test_errors_are_those_of_a_generation(self, api, make_account, fields, status, code, field):
        """What would be refused is refused in a dry run."""
        api.refused(dry_run(api, make_account(), **fields), status, code, field)

    @pytest.mark.parametrize("quality", ["fast", "balanced", "quality", "ultra"])
    def test_each_quality(self, api, make_account, quality):
        """The four qualities are the four entries for those who reach them all."""
        entry = {
            "fast": "flux-schnell-fast",
            "balanced": "flux-dev-base",
            "quality": "flux-dev-realism",
            "ultra": "flux-dev-hd-realism",
        }[quality]
        answer = dry_run(api, make_account(Tier.PRO), quality=quality)
        assert answer.json()["modelKey"] == f"avatar-creator:{entry}"


class TestQuote:
    def change_price(self, uow, key, price):
        """Change a price as an operator does."""
        with uow.begin() as tx:
            tx.session.execute(
                update(CatalogEntry).where(CatalogEntry.model_key == key).values(credit_cost=price)
            )

    def test_its_price_binds(self, api, make_account, uow):
        """A generation with a quote costs what was quoted, though the price has changed meanwhile."""
        account = make_account(Tier.BASIC, credits=20)
        quote_id = dry_run(api, account).json()["quoteId"]
        self.change_price(uow, REALISM, 19)
        assert dry_run(api, account).json()["creditCost"] == 19
        assert dry_run(api, account, quoteId=quote_id).json()["creditCost"] == 12
        answer = api.generate(account, quoteId=quote_id)
        assert answer.json()["creditUsed"] == 12
        assert api.account(account) == (8, 12)

    def test_its_entry_binds(self, api, make_account, uow):
        """A cheaper entry that comes within reach meanwhile does not replace the quoted one."""
        account = make_account(Tier.BASIC)
        quote_id = dry_run(api, account, quality="balanced").json()["quoteId"]
        answer = api.generate(account, quoteId=quote_id)
        assert answer.json()["creditUsed"] == 8

    @pytest.mark.parametrize("wish", [{"width": 1024}, {"modelKey": "flux-schnell-fast"}])
    def test_for_another_wish(self, api, make_account, wish):
        """A quote does not apply to another size or model, and nothing is held."""
        account = make_account(Tier.BASIC)
        quote_id = dry_run(api, account).json()["quoteId"]
        api.refused(api.generate(account, quoteId=quote_id, **wish), 400, "VALIDATION_ERROR", "quoteId")
        api.nothing_happened(account)

    def test_a_disabled_entry(self, api, make_account, uow):
        """A quote does not bring an entry back that was disabled meanwhile."""
        account = make_account(Tier.BASIC)
        quote_id = dry_run(api, account).json()["quoteId"]
        with uow.begin() as tx:
            tx.session.execute(
                update(CatalogEntry).where(CatalogEntry.model_key == REALISM).values(enabled=False)
            )
        api.refused(api.generate(account, quoteId=quote_id), 400, "VALIDATION_ERROR", "modelKey")

    def test_another_users(self, api, make_account):
        """A quote of another user is unknown."""
        quote_id = dry_run(api, make_account()).json()["quoteId"]
        account = make_account()
        api.refused(api.generate(account, quoteId=quote_id), 400, "VALIDATION_ERROR", "quoteId")

    @pytest.mark.parametrize("quote_id", ["", "a.b.c", "x" * 1001, "\u00e9"])
    def test_no_quote_at_all(self, api, make_account, quote_id):
        """What was never a quote is refused by its field."""
        account = make_account()
        answer = api.generate(account, quoteId=quote_id)
        api.refused(answer, 400, "VALIDATION_ERROR", "quoteId")
