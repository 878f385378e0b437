import time

from inference.backend import Phase, Progress
from inference.local.phases import Phases


class TestPhases:
    def test_each_phase_is_reported_once(self):
        """A phase that is begun twice in a row is reported once; steps are reported when they end."""
        reports = []
        phases = Phases(reports.append)
        phases.begin(Phase.LOAD)
        phases.begin(Phase.LOAD)
        phases.begin_steps()
        phases.step_ended(1, 2)
        phases.begin(Phase.DECODE)
        assert reports == [Progress(Phase.LOAD), Progress(Phase.STEP, 1, 2), Progress(Phase.DECODE)]

    def test_seconds_belong_to_their_phase(self):
        """Time counts for the phase that began last, and phases that did not begin have no entry."""
        phases = Phases(lambda _: None)
        phases.begin(Phase.ENCODE)
        time.sleep(0.05)
        phases.begin_steps()
        seconds = phases.seconds()
        assert set(seconds) == {Phase.ENCODE, Phase.STEP}
        assert seconds[Phase.ENCODE] >= 0.05 > seconds[Phase.STEP]
