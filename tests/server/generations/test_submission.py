from itertools import pairwise

import pytest
from redis import Redis
from sqlalchemy import func, select

from catalog.tiers import Tier
from server.credits.errors import InsufficientCredits
from server.credits.repository import Ledger
from server.entries.tables import CatalogEntry
from server.errors import NotFound
from server.events.tables import Event
from server.generations.repository import Generations
from server.generations.states import Reason
from server.generations.submission import GenerationRequest, Limits, QueueFull, TooManyUnfinished, submit
from server.generations.tables import Generation
from server.generations.turns import STEP_S
from server.scheduling.wakeups import WakeUps, open_queue

pytestmark = pytest.mark.usefixtures("books_that_balance")


def rows(uow, table):
    """Return how many rows a table has."""
    with uow.read() as tx:
        return tx.session.scalar(select(func.count()).select_from(table))


class TestSubmit:
    @pytest.mark.parametrize(
        ("tier", "fields", "entry_key", "price"),
        [
            (Tier.FREE, {}, "flux-dev-base", 8),
            (Tier.BASIC, {}, "flux-dev-realism", 12),
            (Tier.PRO, {"width": 1024}, "flux-dev-hd-realism", 15),
            (Tier.ENTERPRISE, {}, "flux-dev-hd-realism", 0),
        ],
    )
    def test_the_price_is_held(self, submit_one, make_account, balance_of, tier, fields, entry_key, price):
        """A submission holds the price of the entry that serves it."""
        account = make_account(tier, credits=100)
        generation = submit_one(account, **fields)
        assert generation.entry_key == f"avatar-creator:{entry_key}"
        assert (generation.status, generation.credits) == ("pending", price)
        assert balance_of(account) == 100 - price

    def test_an_operators_price_is_what_is_held(self, submit_one, make_account, balance_of, uow):
        """A price that was changed in the database is charged from the next submission on."""
        account = make_account(credits=100)
        with uow.begin() as tx:
            entry = tx.session.get(CatalogEntry, ("avatar-creator", "avatar-creator:flux-dev-base"))
            entry.credit_cost = 5
        submit_one(account)
        assert balance_of(account) == 95

    def test_the_order_is_all_that_the_worker_needs(self, submit_one, make_account):
        """The order holds the entry's parameters, the composed prompt and the requested seed and size."""
        generation = submit_one(
            make_account(Tier.BASIC),
            seed=7,
            gender="female",
            hairColor="red",
            personaName="Ada",
            width=528,
            height=784,
        )
        order = generation.order
        assert order.prompt.startswith("female, red hair, portrait of Ada, portrait of a person, photoreal")
        assert (order.seed, order.width_px, order.height_px) == (7, 528, 784)
        assert (order.steps, order.guidance_scale) == (30, 3.5)
        assert order.adapter.scale == 0.9
        assert generation.prompt == "portrait of a person"

    def test_a_seed_is_drawn_and_kept(self, submit_one, make_account):
        """Without a seed each generation gets one of its own, within 32 bits."""
        account = make_account()
        seeds = {submit_one(account).order.seed for _ in range(3)}
        assert len(seeds) == 3
        assert all(0 <= seed < 2**32 for seed in seeds)

    def test_a_flood_at_once_has_one_turn_a_round(self, make_account, submit_one, at_once):
        """Of submissions at the same moment each has a turn of its own, one step after another."""
        account = make_account(credits=1000)
        turns = sorted(one.turn for one in at_once(8, lambda: submit_one(account)))
        assert all(later - earlier == pytest.approx(STEP_S) for earlier, later in pairwise(turns))

    def test_a_worker_is_woken(self, submit_one, make_account, settings):
        """A submission puts the generation's id, and nothing else of it, into Redis."""
        generation = submit_one(make_account())
        with Redis.from_url(settings.redis.url) as client:
            jobs = open_queue(client).get_jobs()
            assert [list(job.args) for job in jobs] == [[generation.id]]
            everything = b"".join(b"".join(client.hvals(key)) for key in client.keys("rq:job:*"))
        assert b"portrait" not in everything

    def test_redis_away_is_no_error(self, uow, make_account, settings, balance_of):
        """Without Redis a submission is still accepted, because its pending row is the queue."""
        account = make_account()
        wakeups = WakeUps(settings.changed(redis_url="redis://127.0.0.1:1/0"))
        request = GenerationRequest(account.project_id, "Ada", "portrait of a person")
        submit(uow, wakeups.notify, account.caller, request, Limits(max_depth=10))
        assert balance_of(account) == 92
        assert wakeups.waiting() is None


class TestRefusals:
    @pytest.fixture
    def refuse(self, uow, settings, balance_of):
        """Expect a refusal that leaves no trace."""

        def expect(error, account, *, project_id=None, **limits):
            before = balance_of(account), rows(uow, Generation), rows(uow, Event)
            request = GenerationRequest(project_id or account.project_id, "Ada", "portrait of a person")
            bounds = Limits(**({"max_depth": 1000} | limits))
            with pytest.raises(error):
                submit(uow, WakeUps(settings).notify, account.caller, request, bounds)
            assert (balance_of(account), rows(uow, Generation), rows(uow, Event)) == before

        return expect

    def test_too_few_credits(self, make_account, refuse):
        """With seven credits for a price of eight nothing is queued and nothing held."""
        refuse(InsufficientCredits, make_account(credits=7))

    def test_someone_elses_project(self, make_account, refuse):
        """Another user's project is not found."""
        refuse(NotFound, make_account(), project_id=make_account().project_id)

    def test_a_full_queue(self, make_account, refuse, submit_one):
        """When the queue has its greatest depth, the next submission is refused."""
        account = make_account()
        submit_one(account)
        refuse(QueueFull, account, max_depth=1)

    def test_too_many_of_one_user(self, make_account, refuse, submit_one, claim):
        """A user's generations count while they wait or are drawn; other users' do not."""
        account, other = make_account(), make_account()
        submit_one(account)
        claim()
        submit_one(account)
        refuse(TooManyUnfinished, account, max_per_user=2)
        submit_one(other, max_per_user=1)

    def test_what_has_ended_does_not_count(self, uow, make_account, submit_one):
        """A generation that has failed makes room for another."""
        account = make_account()
        first = submit_one(account, max_per_user=1)
        with uow.begin() as tx:
            Generations(tx).fail_waiting([first.id], Reason.CANCELLED, "cancelled")
            Ledger(tx).void(first.id)
        submit_one(account, max_per_user=1)

    @pytest.mark.parametrize("tier", [Tier.FREE, Tier.ENTERPRISE])
    def test_of_many_at_once_as_many_as_may_wait(self, make_account, submit_one, at_once, tier):
        """Of ten submissions of a user at the same moment, as many are accepted as may wait."""
        account = make_account(tier, credits=1000)
        outcomes = at_once(10, lambda: submit_one(account, max_per_user=3))
        assert sum(isinstance(outcome, TooManyUnfinished) for outcome in outcomes) == 7

    def test_a_balance_is_never_overdrawn(self, make_account, submit_one, at_once, balance_of):
        """Of ten submissions at the same moment with credits for three, three are accepted."""
        account = make_account(credits=31)
        outcomes = at_once(10, lambda: submit_one(account))
        assert sum(isinstance(outcome, InsufficientCredits) for outcome in outcomes) == 7
        assert balance_of(account) == 31 - 3 * 8
