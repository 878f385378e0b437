import json
import zlib
from unittest.mock import ANY

import pytest
from sqlalchemy import update

from catalog.tiers import Tier
from server.entries.tables import CatalogEntry
from server.generations.tables import Generation
from server.scheduling.wakeups import WakeUps, open_queue

BASE = "avatar-creator:flux-dev-base"
REALISM = "avatar-creator:flux-dev-realism"
HD = "avatar-creator:flux-dev-hd-realism"
SCHNELL = "avatar-creator:flux-schnell-fast"
TIERS = [
    (Tier.FREE, None, BASE, 8, 512, 28),
    (Tier.BASIC, None, REALISM, 12, 768, 30),
    (Tier.PRO, None, REALISM, 12, 768, 30),
    (Tier.PRO, 1024, HD, 15, 1024, 35),
    (Tier.ENTERPRISE, None, HD, 0, 1024, 35),
]
PREFIXES = ["/api/avatar-creator", "/api/apps/avatar-creator"]


def options(answer):
    """Return the options of an accepted generation, which are JSON text."""
    assert answer.status_code == 200, answer.text
    text = answer.json()["generation"]["options"]
    assert isinstance(text, str)
    return json.loads(text)


class TestSelectionAndPrice:
    def test_each_tier_gets_its_entry_at_its_price(self, api, make_account, subtests):
        """Every tier is served by the entry of the contract's table and pays exactly its price."""
        for tier, size, entry, price, pixels, steps in TIERS:
            with subtests.test(tier=tier, size=size):
                account = make_account(tier, credits=20)
                answer = api.generate(account, width=size, height=size)
                chosen = options(answer)
                assert chosen["modelKey"] == entry
                assert (chosen["width"], chosen["height"], chosen["numInferenceSteps"]) == (
                    pixels,
                    pixels,
                    steps,
                )
                assert 0 <= chosen["seed"] < 2**32
                assert (answer.json()["creditUsed"], answer.json()["creditBalance"]) == (price, 20 - price)
                assert api.balance(account) == 20 - price
                assert api.account(account) == (20 - price, price)

    def test_an_entry_can_be_asked_for_by_its_key(self, api, make_account):
        """A modelKey that the tier allows selects the entry, its price and its parameters."""
        account = make_account(Tier.BASIC)
        answer = api.generate(account, modelKey=SCHNELL)
        assert options(answer)["modelKey"] == SCHNELL
        assert options(answer)["modelName"] == "FLUX.1-schnell Fast"
        assert options(answer)["numInferenceSteps"] == 4
        assert answer.json()["creditUsed"] == 6

    def test_one_side_alone_means_a_square(self, api, make_account):
        """A width without a height is also the height."""
        chosen = options(api.generate(make_account(), width=640))
        assert (chosen["width"], chosen["height"]) == (640, 640)

    def test_sides_may_differ(self, api, make_account):
        """A requested size that is no square is kept."""
        chosen = options(api.generate(make_account(), width=1024, height=512))
        assert (chosen["width"], chosen["height"]) == (1024, 512)

    def test_a_price_changed_by_the_operator_is_what_is_charged(self, api, uow, make_account):
        """A running server charges what the database says at that moment."""
        account = make_account()
        assert api.generate(account).json()["creditUsed"] == 8
        with uow.begin() as tx:
            tx.session.execute(
                update(CatalogEntry).where(CatalogEntry.model_key == BASE).values(credit_cost=3)
            )
        assert api.generate(account).json()["creditUsed"] == 3
        assert api.balance(account) == 89

    def test_a_disabled_realism_entry_falls_back_to_the_base(self, api, uow, make_account):
        """Without the realism entries a basic user gets the base entry at its price."""
        with uow.begin() as tx:
            tx.session.execute(
                update(CatalogEntry).where(CatalogEntry.model_key.in_([REALISM, HD])).values(enabled=False)
            )
        answer = api.generate(make_account(Tier.BASIC))
        assert options(answer)["modelKey"] == BASE
        assert answer.json()["creditUsed"] == 8

    def test_the_last_credits_can_be_spent(self, api, make_account):
        """A balance that equals the price covers it."""
        account = make_account(credits=8)
        assert api.generate(account).json()["creditBalance"] == 0
        assert api.balance(account) == 0


class TestSeed:
    def test_a_given_seed_is_recorded(self, api, uow, make_account):
        """A seed that a client names is the seed of the order."""
        account = make_account()
        for seed in (0, 42, 2**32 - 1):
            answer = api.generate(account, seed=seed)
            assert options(answer)["seed"] == seed
            with uow.read() as tx:
                assert tx.session.get(Generation, answer.json()["generation"]["id"]).order.seed == seed

    def test_a_missing_seed_is_random(self, api, make_account):
        """Two requests without a seed get different seeds."""
        account = make_account()
        assert options(api.generate(account))["seed"] != options(api.generate(account))["seed"]


class TestAccepted:
    @pytest.mark.parametrize("prefix", PREFIXES)
    def test_what_was_accepted_can_be_read_back(self, api, make_account, prefix):
        """Under both prefixes a submission returns the generation that GET then returns with its progress."""
        account = make_account()
        accepted = api.generate(account, prefix).json()
        assert accepted.keys() == {"message", "generation", "creditUsed", "creditBalance", "note"}
        generation = accepted["generation"]
        assert generation["status"] == "pending"
        assert generation["userId"] == account.user_id
        assert generation["projectId"] == account.project_id
        assert [generation[name] for name in ("avatarId", "errorMessage", "completedAt")] == [None] * 3
        assert generation["createdAt"].endswith("Z")
        for each in PREFIXES:
            path = f"{each}/generations/{generation['id']}"
            read = api.client.get(path, headers=account.headers)
            assert read.status_code == 200
            assert read.json()["generation"] == generation | {"progress": ANY}

    def test_the_prompt_is_trimmed_and_folded(self, api, uow, make_account):
        """The stored prompt is the user's with white space folded; the model's prompt has more words."""
        answer = api.generate(make_account(), prompt="  a \t portrait\n\n of Ada  ", gender="female").json()
        generation = answer["generation"]
        assert generation["prompt"] == "a portrait of Ada"
        with uow.read() as tx:
            order = tx.session.get(Generation, generation["id"]).order
        assert "a portrait of Ada" in order.prompt
        assert order.prompt != "a portrait of Ada"

    def test_a_worker_is_woken_with_the_id_alone(self, api, own_redis, make_account):
        """Redis gets one job, which carries the generation's id and not its prompt."""
        answer = api.generate(make_account(), prompt="a secret wish for a portrait").json()
        assert api.woken(1) == 1
        (job,) = open_queue(own_redis).get_jobs()
        assert job.args == [answer["generation"]["id"]]
        kept = own_redis.hgetall(f"rq:job:{job.id}")
        kept[b"data"] = zlib.decompress(kept[b"data"])
        assert answer["generation"]["id"].encode() in kept[b"data"]
        assert b"secret wish" not in b"".join(kept.values())

    def test_the_wakeup_is_not_on_the_way(self, open_api, make_account, monkeypatch):
        """A request is answered before Redis is asked anything: that is the affair of a thread."""
        monkeypatch.setattr(WakeUps, "run", lambda _, stopped: stopped.wait())
        with open_api() as api:
            assert api.generate(make_account()).status_code == 200
            assert api.wakeups.waiting() == 0

    def test_redis_away_refuses_nothing(self, open_api, make_account):
        """Without Redis a generation is still accepted, because the pending row is the queue."""
        account = make_account()
        with open_api(redis_url="redis://127.0.0.1:1/0") as api:
            assert api.generate(account).status_code == 200
            assert api.generations() == 1

    def test_every_optional_field_is_taken(self, api, uow, make_account):
        """Persona and looks are stored with the generation; unknown fields are not."""
        traits = {
            "personaName": "n" * 100,
            "personaAge": 120,
            "personaPersonality": ["calm" * 12] * 10,
            "personaBackground": "b" * 500,
            "gender": "unisex",
            "ageRange": "mature",
            "ethnicity": "e" * 50,
            "bodyType": "b" * 50,
            "hairStyle": "h" * 50,
            "hairColor": "h" * 50,
            "eyeColor": "e" * 50,
            "skinTone": "s" * 50,
            "style": "s" * 50,
        }
        answer = api.generate(make_account(), name="n" * 100, unknown={"deep": [1]}, **traits)
        assert answer.status_code == 200, answer.text
        with uow.read() as tx:
            generation = tx.session.get(Generation, answer.json()["generation"]["id"])
        assert generation.avatar_name == "n" * 100
        assert generation.traits.persona_name == "n" * 100
        assert generation.traits.persona_personality == ("calm" * 12,) * 10
        assert "unknown" not in generation.traits.to_json()

    def test_the_bounds_of_the_prompt_are_inclusive(self, api, make_account):
        """Prompts of 10 and of 2000 characters are accepted, in any alphabet."""
        account = make_account()
        for length in (10, 2000):
            answer = api.generate(account, prompt="é" * length)
            assert answer.status_code == 200
            assert answer.json()["generation"]["prompt"] == "é" * length

    def test_simultaneous_submissions_spend_no_more_than_the_balance(self, api, uow, make_account, at_once):
        """Of ten submissions at the same moment with credits for three, three are accepted."""
        account = make_account(credits=25)
        answers = at_once(10, lambda: api.generate(account))
        assert sorted(answer.status_code for answer in answers) == [200] * 3 + [402] * 7
        assert api.account(account) == (1, 24)
        with uow.read() as tx:
            assert tx.session.query(Generation).count() == 3
