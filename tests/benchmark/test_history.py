"""No request, scrape or round of the reaper reads rows in number of the history."""

import json
import re

import pytest
from sqlalchemy import event, text

from benchmark.filling import claim_next, deliver, fill, new_user, request_in
from server.credits.repository import Ledger
from server.credits.service import audit, balance, history
from server.generations.service import list_page as list_generations
from server.generations.submission import Limits, submit
from server.images.store import ImageStore
from server.observability.readings import RECENT_EVENTS, read
from server.projects import service as projects
from server.projects.avatars import list_page as list_avatars
from server.scheduling.reaper import Reaper

OWN, OTHERS = 300, 2_000
BOUND = RECENT_EVENTS + 100
HISTORY = ("generations", "events", "avatars", "ledger_transfers", "ledger_postings")
SCANNED = re.compile(rf"SCAN ({'|'.join(HISTORY)})\b")
LIMITS = Limits(max_depth=1000, max_per_user=20)


@pytest.fixture
def filled(uow, owner, settings):
    """A user with a history among others' longer one: the caller and a project."""
    caller, project_id = new_user(uow, "measured")
    fill(owner, settings, caller, project_id, OWN, OTHERS)
    return caller, project_id


@pytest.fixture
def rows_read(uow):
    """Return the most rows of a table of the history that any statement of an act reads."""

    def measure(act):
        statements = []

        def note(_connection, _cursor, statement, parameters, *_):
            if statement.startswith(("SELECT", "UPDATE", "DELETE")):
                statements.append((statement, parameters))

        event.listen(uow.engine, "before_cursor_execute", note)
        act()
        event.remove(uow.engine, "before_cursor_execute", note)
        assert statements
        with uow.engine.connect() as connection:
            return max(rows_of(connection, *one) for one in statements)

    return measure


def rows_of(connection, statement, parameters):
    """Return how many rows a statement reads of a table of the history; on SQLite, all if it scans one."""
    if connection.dialect.name == "sqlite":
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        scans = any(SCANNED.search(row.detail) for row in plan)
        return OWN + OTHERS if scans and "LIMIT" not in statement else 0
    found = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters).scalar_one()
    plan = found if isinstance(found, list) else json.loads(found)
    return rows_at(plan[0]["Plan"])


def rows_at(node):
    """Return the most rows that a node of a plan, or one below it, reads of a table of the history."""
    own = 0
    if node.get("Relation Name") in HISTORY:
        read_once = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
        own = read_once * node["Actual Loops"]
    return max([own, *(rows_at(below) for below in node.get("Plans", ()))])


class TestFill:
    def test_the_ledger_is_in_order(self, uow, filled):
        """The history is one that the program could have written: no account drifts, all is delivered."""
        assert audit(uow).passed
        with uow.read() as tx:
            counts = {name: tx.session.scalar(text(f"SELECT count(*) FROM {name}")) for name in HISTORY}  # noqa: S608
            assert Ledger(tx).held() == 0
        delivered = OWN + OTHERS + 1
        assert counts["generations"] == counts["avatars"] == delivered
        assert counts["events"] == 3 * delivered
        assert counts["ledger_postings"] == 4 * delivered + 2 * 1001

    def test_the_service_goes_on(self, uow, filled):
        """What is submitted after the history is claimed and delivered."""
        caller, project_id = filled
        submit(uow, lambda _: None, caller, request_in(project_id), LIMITS)
        assert deliver(uow, claim_next(uow), 1).status == "completed"
        assert audit(uow).passed


class TestRows:
    def test_a_whole_sum_is_noticed(self, uow, filled, rows_read):
        """What adds up the ledger, as doctor does, reads more than the bound: so the other tests can fail."""
        assert rows_read(lambda: audit(uow)) > BOUND

    def test_metrics(self, uow, filled, rows_read):
        """A scrape reads the newest events and what waits."""
        submit(uow, lambda _: None, filled[0], request_in(filled[1]), LIMITS)
        assert rows_read(lambda: read(uow)) <= BOUND

    def test_a_round_of_the_reaper(self, uow, settings, filled, rows_read):
        """A round reads what waits and what was lost, and so does the next one."""
        submit(uow, lambda _: None, filled[0], request_in(filled[1]), LIMITS)
        reaper = Reaper(uow, ImageStore(settings.server.images_dir), settings)
        reaper.sweep_images()
        for act in (reaper.return_lost, reaper.fail_hopeless, reaper.add_up):
            assert rows_read(act) <= BOUND

    def test_lists(self, uow, filled, rows_read):
        """A page reads its rows, wherever in the history it begins, and the total counts the user's own."""
        caller, _ = filled
        last = list_generations(uow, caller, 200).generations[-1]
        after = last.created_at, last.id
        for act in (
            lambda: list_generations(uow, caller, 50),
            lambda: list_generations(uow, caller, 50, after=after),
            lambda: list_avatars(uow, caller, 50),
            lambda: projects.list_page(uow, caller, 50),
            lambda: history(uow, caller, 50),
            lambda: balance(uow, caller),
        ):
            assert rows_read(act) <= BOUND

    def test_a_generation(self, uow, filled, rows_read):
        """A submission, a claim and a settlement read what they change."""
        caller, project_id = filled
        assert rows_read(lambda: submit(uow, lambda _: None, caller, request_in(project_id), LIMITS)) <= 10
        claimed = []
        assert rows_read(lambda: claimed.append(claim_next(uow))) <= 10
        assert rows_read(lambda: deliver(uow, claimed[0], 2)) <= 10
