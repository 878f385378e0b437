"""Each end of a generation is recorded: in the avatar, the event, the tallies, the spending and the log."""

from uuid import UUID

import pytest

from catalog.tiers import Tier
from catalog.traits import Traits
from server.avatars.repository import Avatars
from server.events.repository import Events
from server.generations import settlement
from server.generations.claims import LeaseLost
from server.generations.states import Reason
from server.generations.tables import Generation
from server.spending.repository import Spending
from server.tallies.repository import MOVED, Tallies
from tests.server.stored import provenance_of, stored_image

pytestmark = pytest.mark.usefixtures("books_that_balance")


def event_data(uow, generation_id, kind):
    """Return the data of the one event of a kind."""
    with uow.read() as tx:
        (data,) = [event.data for event in Events(tx).of(generation_id) if event.kind == kind]
    return data


def logged(log_lines, level="warning"):
    """Return the lines that were logged at a level, without the time and the process."""
    return [
        {name: value for name, value in line.items() if name not in {"timestamp", "process"}}
        for line in log_lines()
        if line["level"] == level
    ]


def ends(uow):
    """Return how often which entry ended in which way."""
    with uow.read() as tx:
        tallies = Tallies(tx).all()
    return {(entry, part): count for (kind, entry, part), count in tallies.items() if kind == "ended"}


def spent(uow):
    """Return the day's spending, in millionths of a dollar."""
    with uow.read() as tx:
        return Spending(tx).today()


ASKED = [
    {"provider": "fal-ai", "code": "GENERATION_TIMEOUT", "cost_microusd": 7},
    {"provider": "replicate", "code": "AI_PROVIDER_ERROR", "cost_microusd": 5},
]


class TestDelivered:
    def test_the_avatar(self, make_account, submit_one, claim, uow):
        """The avatar belongs where the generation does and has its words, its seed and its traits."""
        account = make_account()
        submit_one(account, seed=7, personaName="Ada L.", personaPersonality=["calm"], gender="female")
        held = claim()
        image = stored_image()
        with uow.read() as tx:
            provenance = provenance_of(tx.session.get(Generation, held.generation_id))
        completed = settlement.complete(uow, held, image, provenance, {})
        with uow.read() as tx:
            avatar = Avatars(tx).owned_by(account.user_id, completed.avatar_id)
        assert (avatar.user_id, avatar.project_id) == (account.user_id, account.project_id)
        assert (avatar.generation_id, avatar.name) == (held.generation_id, "Ada")
        assert (avatar.image_key, avatar.image_sha256) == (image.key, image.sha256)
        assert (avatar.source_type, avatar.generation_prompt) == ("text_to_image", "portrait of a person")
        assert avatar.seed_used == 7
        traits = Traits(persona_name="Ada L.", gender="female").to_json() | {
            "persona_personality": '["calm"]'
        }
        assert {name: getattr(avatar, name) for name in traits} == traits

    def test_each_avatar_has_an_id_of_its_own(self, make_account, submit_one, claim, uow):
        """The id of an avatar is a UUID that no other avatar has."""
        account = make_account()
        drawn = []
        for _ in range(2):
            generation = submit_one(account)
            drawn.append(settlement.complete(uow, claim(), stored_image(), provenance_of(generation), {}))
        assert len({UUID(generation.avatar_id) for generation in drawn}) == 2

    def test_the_event_is_complete(self, make_account, submit_one, claim, uow):
        """A delivery's event has its entry, attempt, steps, seconds, provenance, credits and warnings."""
        generation = submit_one(make_account(Tier.BASIC))
        provenance = provenance_of(generation)
        seconds = {"load": 1.5, "step": 0.5}
        settlement.complete(uow, claim(), stored_image(), provenance, seconds, ["It was slow."])
        assert event_data(uow, generation.id, "completed") == {
            "entry": "avatar-creator:flux-dev-realism",
            "attempt": 1,
            "steps": 30,
            "seconds": seconds,
            "provenance": provenance.to_json() | {"attempts": []},
            "credits": 12,
            "warnings": ["It was slow."],
        }

    def test_it_is_counted(self, make_account, submit_one, claim, uow):
        """A delivery counts for its entry, with its steps and seconds, and for the day's spending."""
        generation = submit_one(make_account(Tier.BASIC))
        entry = generation.entry_key
        settlement.complete(
            uow, claim(), stored_image(), provenance_of(generation, cost_microusd=25), {"step": 0.5}
        )
        with uow.read() as tx:
            tallies = Tallies(tx).all()
            # The database has counted the credits: 100 were granted, and the price was held and captured.
            assert {key: value for key, value in tallies.items() if key[0] != MOVED} == {
                ("ended", entry, "completed"): 1,
                ("stage", entry, "step"): 1,
                ("stage_us", entry, "step"): 500_000,
                ("steps", entry, ""): 30,
            }
        assert spent(uow) == 25


class TestFailed:
    def test_the_event_and_the_log(self, make_account, submit_one, claim, uow, log_lines):
        """A failure names its attempt and its reason, and in the log its entry and the credits given back."""
        generation = submit_one(make_account())
        settlement.fail(uow, claim(), Reason.OUT_OF_MEMORY, "It is full.")
        assert event_data(uow, generation.id, "failed") == {"attempt": 1, "reason": "OUT_OF_MEMORY"}
        assert logged(log_lines) == [
            {
                "event": "generation.failed",
                "level": "warning",
                "generation_id": generation.id,
                "entry": "avatar-creator:flux-dev-base",
                "attempt": 1,
                "cause": "OUT_OF_MEMORY: It is full.",
                "credits_given_back": 8,
            }
        ]
        assert ends(uow) == {("avatar-creator:flux-dev-base", "OUT_OF_MEMORY"): 1}
        assert spent(uow) == 0

    def test_what_providers_were_asked(self, make_account, submit_one, claim, uow, log_lines):
        """The attempts at providers are in the event and in the log, and their cost counts for the day."""
        generation = submit_one(make_account())
        settlement.fail(uow, claim(), Reason.AI_PROVIDER_ERROR, "No provider answered.", ASKED)
        event = event_data(uow, generation.id, "failed")
        assert event == {"attempt": 1, "reason": "AI_PROVIDER_ERROR", "asked": ASKED}
        assert [line["asked"] for line in logged(log_lines)] == [ASKED]
        assert spent(uow) == 12


class TestCancelled:
    def test_what_each_is_event_data(self, make_account, submit_one, claim, uow, generation_of, log_lines):
        """A cancelled generation, waiting or running, has the reason in its row, its event and the log."""
        account = make_account()
        running, waiting = submit_one(account), submit_one(account)
        claim()
        settlement.cancel(uow, iter([running.id, waiting.id]))
        for generation, attempt in ((running, 1), (waiting, 0)):
            ended = generation_of(generation.id)
            assert ended.error_message == "CANCELLED: The generation was cancelled."
            assert event_data(uow, generation.id, "failed") == {"attempt": attempt, "reason": "CANCELLED"}
        lines = [line for line in logged(log_lines, "info") if line["event"] == "generation.failed"]
        assert [line["generation_id"] for line in lines] == [running.id, waiting.id]
        assert logged(log_lines) == []
        assert ends(uow) == {("avatar-creator:flux-dev-base", "CANCELLED"): 2}


class TestFailWaiting:
    def test_only_what_waits_fails(
        self, make_account, submit_one, claim, uow, generation_of, balance_of, log_lines
    ):
        """Of the named generations those that wait fail, with their holds given back; one that runs stays."""
        account = make_account(credits=40)
        running, waiting, unnamed = (submit_one(account) for _ in range(3))
        claim()
        named = [running.id, waiting.id]
        assert settlement.fail_waiting(uow, named, Reason.GENERATION_TIMEOUT, "It waited too long.") == 1
        ended = generation_of(waiting.id)
        assert (ended.status, ended.error_code) == ("failed", "GENERATION_TIMEOUT")
        assert ended.error_message == "GENERATION_TIMEOUT: It waited too long."
        assert [generation_of(one.id).status for one in (running, unnamed)] == ["processing", "pending"]
        assert balance_of(account) == 40 - 2 * 8
        assert event_data(uow, waiting.id, "failed") == {"attempt": 0, "reason": "GENERATION_TIMEOUT"}
        assert [line["generation_id"] for line in logged(log_lines)] == [waiting.id]
        assert ends(uow) == {("avatar-creator:flux-dev-base", "GENERATION_TIMEOUT"): 1}


class TestReturnedToTheQueue:
    def test_a_release_names_its_attempt(self, make_account, submit_one, claim, uow):
        """The event of a release says which attempt gave the generation back."""
        generation = submit_one(make_account())
        settlement.release(uow, claim())
        settlement.release(uow, again := claim())
        with uow.read() as tx:
            released = [event.data for event in Events(tx).of(generation.id) if event.kind == "released"]
        assert released == [{"attempt": 1}, {"attempt": again.attempt}]

    def test_fail_over(self, make_account, submit_one, claim, uow, generation_of, balance_of, log_lines):
        """A generation that fails over waits with its hold kept, and records the reason."""
        account = make_account(credits=20)
        generation = submit_one(account)
        held = claim()
        settlement.fail_over(uow, held, Reason.OUT_OF_MEMORY, "It is full.")
        waiting = generation_of(generation.id)
        assert (waiting.status, waiting.failed_over, waiting.losses) == ("pending", True, 0)
        assert balance_of(account) == 12
        assert logged(log_lines) == [
            {
                "event": "generation.failed_over",
                "level": "warning",
                "generation_id": generation.id,
                "cause": "It is full.",
                "attempt": 1,
                "reason": "OUT_OF_MEMORY",
            }
        ]
        with pytest.raises(LeaseLost):
            settlement.fail_over(uow, held, Reason.OUT_OF_MEMORY, "Again.")
        assert event_data(uow, generation.id, "failed_over") == {"attempt": 1, "reason": "OUT_OF_MEMORY"}

    def test_a_dead_workers_generations(self, make_account, submit_one, claim, uow, generation_of, log_lines):
        """All generations of one dead worker are lost, each recorded with its attempt, and no other."""
        account = make_account()
        lost, kept = submit_one(account), submit_one(account)
        claim("worker-1")
        claim("worker-2")
        assert settlement.return_lost(uow, "worker-1") == 1
        assert [generation_of(one.id).status for one in (lost, kept)] == ["pending", "processing"]
        assert event_data(uow, lost.id, "lost") == {"attempt": 1, "worker": "worker-1"}
        assert logged(log_lines) == [
            {
                "event": "generation.lost",
                "level": "warning",
                "generation_id": lost.id,
                "attempt": 1,
                "losses": 1,
                "worker": "worker-1",
            }
        ]
