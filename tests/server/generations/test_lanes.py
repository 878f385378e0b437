import pytest
from sqlalchemy import event, text

from catalog.tiers import Tier
from server.generations.queue import PendingQueue
from server.generations.repository import Generations
from server.scheduling.fair_queue import FairQueue, Rules

FAST = "avatar-creator:flux-schnell-fast"
DEV, SCHNELL = "black-forest-labs/FLUX.1-dev", "black-forest-labs/FLUX.1-schnell"


@pytest.fixture
def heads(uow):
    """Read the heads of the lanes; other keywords select them."""

    def read(**options):
        with uow.read() as tx:
            return {tuple(head.lane): head.turn for head in PendingQueue(tx).heads(**options)}

    return read


class TestHeads:
    def test_each_lane_has_one(self, make_account, submit_one, heads):
        """Of each model and tier for which something waits, the first in turn is read."""
        free, basic = make_account(), make_account(Tier.BASIC, credits=1000)
        first, _ = submit_one(free), submit_one(free)
        fast = submit_one(basic, modelKey=FAST)
        assert heads() == {(DEV, False, Tier.FREE): first.turn, (SCHNELL, False, Tier.BASIC): fast.turn}

    def test_what_failed_over_is_a_lane_of_its_own(self, uow, make_account, submit_one, claim, heads):
        """What a local worker gave up is found by those who may claim it."""
        generation = submit_one(make_account())
        held = claim()
        assert heads() == {}
        with uow.begin() as tx:
            Generations(tx).release(held, failed_over=True)
        assert heads(failed_over=False) == {}
        expected = {(DEV, True, Tier.FREE): generation.turn}
        assert heads(failed_over=True) == heads() == expected

    def test_what_lost_too_many_workers_is_no_head(self, uow, make_account, submit_one, claim, heads):
        """The next of the lane is, which has lost fewer."""
        account = make_account()
        submit_one(account)
        second = submit_one(account)
        claim(lease_s=-1)
        with uow.begin() as tx:
            Generations(tx).return_lost()
        assert heads(max_losses=1) == {(DEV, False, Tier.FREE): second.turn}


class TestPlan:
    """How both databases run what a claim and a submission ask, with three thousand waiting."""

    @pytest.fixture
    def plans(self, uow, owner, make_account, submit_one):
        """Run a function, and return the plan of each of its statements that reads generations."""
        copied = submit_one(make_account())
        with owner.begin() as tx:
            columns = [
                row[0] for row in tx.session.execute(text("SELECT * FROM generations")).cursor.description
            ]
            values = {name: name for name in columns} | {"id": "CAST(n AS VARCHAR(64))", "turn": "turn + n"}
            values["status"] = "CASE WHEN n % 4 = 0 THEN 'failed' ELSE status END"
            values["error_code"] = "CASE WHEN n % 4 = 0 THEN 'CANCELLED' END"
            tx.session.execute(
                text(
                    "WITH RECURSIVE number(n) AS "  # noqa: S608  # our own
                    "(SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 4000) "
                    f"INSERT INTO generations ({', '.join(values)}) "
                    f"SELECT {', '.join(values.values())} FROM generations, number WHERE id = '{copied.id}'"
                )
            )
        with owner.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("ANALYZE generations"))

        def explain(act):
            statements = []

            def keep(_connection, _cursor, statement, parameters, _context, _many):
                if "FROM generations" in statement:
                    statements.append((statement, parameters))

            event.listen(uow.engine, "before_cursor_execute", keep)
            with uow.begin() as tx:
                act(tx)
            event.remove(uow.engine, "before_cursor_execute", keep)
            assert statements
            return ["\n".join(self._plan(owner, *one)) for one in statements]

        return explain

    @staticmethod
    def _plan(owner, statement, parameters):
        word = "EXPLAIN QUERY PLAN" if owner.engine.dialect.name == "sqlite" else "EXPLAIN"
        with owner.engine.connect() as connection:
            rows = connection.exec_driver_sql(f"{word} {statement}", parameters)
            return [str(row[-1]) for row in rows]

    def test_a_claim(self, plans):
        """It reads the index of the lanes, and neither sorts nor scans what waits."""
        rules = Rules(max_drawn_per_user=2)

        def claim(tx):
            assert FairQueue(tx, rules).claim("worker-1", 60, {SCHNELL}, max_losses=3) is not None

        for plan in plans(claim):
            self._only_by_index(plan)
            assert "ix_generations_lanes" in plan

    def test_those_that_ride_along(self, plans, claim, generation_of):
        """They are found by the index of what can be drawn together."""
        first, rules = generation_of(claim().generation_id), Rules(max_drawn_per_user=9)

        def join(tx):
            assert len(FairQueue(tx, rules).companions(first, "worker-1", 60, 3)) == 3

        for plan in plans(join):
            self._only_by_index(plan)
            assert "ix_generations_batches" in plan

    def test_the_turn_of_a_submission(self, plans, make_account):
        """It is found by indexes, too; all that waits is counted, of which most of these rows are."""
        user_id = make_account().user_id
        for plan in plans(lambda tx: PendingQueue(tx).room(user_id, DEV)):
            self._only_by_index(plan.replace("Seq Scan on generations", "counted", 1))

    @staticmethod
    def _only_by_index(plan):
        lines = plan.splitlines()
        assert "Seq Scan on generations" not in plan
        assert not any("SCAN generations" in line and "INDEX" not in line for line in lines)
        assert "TEMP B-TREE" not in plan
        assert "Sort" not in plan
