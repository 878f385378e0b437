import json
import os
import secrets
from pathlib import Path

import pytest

from tests.chaos.campaign import Campaign, Plan
from tests.chaos.postgres import open_postgres
from tests.chaos.stage import open_stage
from tests.inference.hosted.box import open_box

SHORT_S = 10
SECONDS = float(os.environ.get("CHAOS_S", SHORT_S))
SEED = int(os.environ.get("CHAOS_SEED") or secrets.randbelow(10**6))
POINTS = os.environ.get("CHAOS_POINTS", "")
MINIATURE_FROM_S = 90
"""In a shorter run the local worker draws by a script: half of the time would go into importing torch."""
DEEP_S = 600
"""From this length on, every point that was seen must have been visited, and the p99 counts."""
DATABASES = ["sqlite", "postgresql"] if "CHAOS_S" in os.environ else ["postgresql"]
"""Among other tests it runs on one of them: even the short run takes a minute of a core for each."""
EXPECTED = Path(__file__).with_name("use_cases.json")

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(6 * SECONDS + 900)]


def plan():
    """Return one round that tests run, or rounds of two minutes as long as `make chaos` asks for."""
    if SECONDS < MINIATURE_FROM_S:
        return Plan(SECONDS, SEED, storm_s=SECONDS, calm_s=2, points=POINTS)
    return Plan(SECONDS, SEED, storm_s=80, calm_s=12, more_s=2 * SECONDS, points=POINTS)


@pytest.fixture(scope="class", params=DATABASES)
def report(request, tmp_path_factory, models_dir):
    """The report of a campaign on one kind of database."""
    folder = tmp_path_factory.mktemp("chaos") / "stage"
    weights = models_dir if SECONDS >= MINIATURE_FROM_S else None
    with open_box() as box:
        if request.param == "sqlite":
            with open_stage(folder, weights, None, box) as stage:
                done = Campaign(stage, plan()).run()
        else:
            with open_postgres() as postgres, open_stage(folder, weights, postgres, box) as stage:
                done = Campaign(stage, plan()).run()
    done.violations += [
        f"the process {pid} did not end" for pid in json.loads((folder / "left.json").read_text())
    ]
    reports = Path(os.environ.get("CHAOS_REPORTS") or folder.parent)
    done.write(reports / f"{done.database}-{done.seed}.json")
    return done


class TestChaos:
    def test_nothing_is_lost(self, report, record_property):
        """Whatever dies, stands still or is full: no credit, promise, image or secret is lost."""
        record_property("figure", report.table())
        assert report.violations == []

    def test_quiet(self, report):
        """Two minutes after the faults everything has ended and every part is ready."""
        assert max(report.seconds_to_ready + report.seconds_to_quiet) <= 120

    def test_every_use_case_has_points(self, report):
        """The points are found in every use case that changes something: the hook has lost none."""
        missing = _expected(report) - {case.split(" | ")[1] for case in report.use_cases}
        assert not missing

    def test_points_are_visited(self, report):
        """Processes are killed at points in a short run, and at every point that was seen in a long one."""
        assert report.points_killed_at > 3 or POINTS
        assert report.unvisited == [] or report.planned_s < DEEP_S

    def test_answers_are_quick_between_outages(self, report):
        """Of a long run, 99 of 100 requests in calm windows are answered within a second."""
        assert report.calm_p99_s < 1 or report.planned_s < DEEP_S


def _expected(report):
    """Return the use cases that every run meets, and for a long one those that take time to meet."""
    expected = json.loads(EXPECTED.read_text("utf-8"))
    return {*expected["always"], *(expected["in a long run"] if report.planned_s >= DEEP_S else [])}
