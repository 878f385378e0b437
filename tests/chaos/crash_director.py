"""Arms crash points, and keeps which were seen, killed at and stopped at."""

import random
import re
import signal
import threading
import time
from collections import Counter, defaultdict
from contextlib import suppress
from pathlib import Path

import psutil

from tests.chaos.hook.crash_points import digest

LOOK_S = 0.1
PATIENCE_S = {"local worker": 40.0}
"""How long a point stays armed that no process comes to; then others have their turn."""
OTHERS_PATIENCE_S = 12.0
ARMED_AT_ONCE = {
    "api": 5,
    "watchdog": 4,
    "local worker": 6,
    "hosted worker": 4,
    "decoder": 2,
    "command": 40,
}
"""One that starts slowly, or comes rarely to a point, has more of them before it."""
PAUSES_S = {
    "api": 2.0,
    "watchdog": 3.0,
    "local worker": 3.0,
    "hosted worker": 2.0,
    "decoder": 1.0,
    "command": 0.2,
}
"""How long a role is left alone after it was hit: about as long as its process takes to be back."""
TURN_S = 20.0
LIGHT = {"local worker", "hosted worker", "decoder"}
TURNS = ({*ARMED_AT_ONCE}, {*ARMED_AT_ONCE} - {"watchdog"}, LIGHT)
"""Roles take turns: a local worker never draws if its watchdog dies often, or beside many that start."""
LONGEST_STOP_S = {"local worker": 12.0, "hosted worker": 12.0}
"""Past the deadline of a phase the watchdog kills a worker that stands still."""
STOP_S = 5.0
STOPS, STOPS_LATER = {"local worker": 0.05, "command": 0.05}, 0.7
"""How often a process is stopped and not killed: rarely where a start takes long, often after all deaths."""
MATTER = (
    "| generations/",
    "| routes/",
    "| worker/attempt",
    "| avatars/",
    "| scheduling/image_sweep",
    ".grant ",
)
STAY_DEAD = 0.2  # of the stopped processes: they are killed and not resumed


def role_of(point: str) -> str:
    """Return the kind of process in a point's name."""
    return point.split(" | ", 1)[0]


def use_case_of(point: str) -> str:
    """Return the kind of process and the use case in a point's name."""
    return point.rsplit(" | ", 1)[0]


def _order_of(point: str) -> int:
    """Return 0 for points among credits, generations and images, 1 for others that write, 2 for reads."""
    if point.endswith(" | reading"):
        return 2
    return 0 if any(noun in point for noun in MATTER) else 1


class CrashDirector:
    """Chooses the next points while it runs: those first where no process was killed yet.

    only: a regular expression; no other points are armed.
    """

    def __init__(self, folder: Path, chance: random.Random, only: str = "") -> None:
        self._folder = folder
        self._only = re.compile(only)
        self._chance = chance
        self._armed: dict[str, tuple[str, float]] = {}
        self._tries: Counter[str] = Counter()
        self._resting: dict[str, float] = defaultdict(float)
        self._stopped: list[tuple[float, int]] = []
        self.names: dict[str, str] = {}
        """Each point that was seen, by the name of its files."""
        self.visited: dict[str, Counter[str]] = {"kill": Counter(), "stop": Counter()}

    def run(self, stopped: threading.Event) -> None:
        """Arm points until stopped; then disarm all and let stopped processes go on."""
        try:
            while not stopped.wait(LOOK_S):
                self.look()
                self._resume(time.monotonic())
                self._arm(time.monotonic())
        finally:
            self._disarm_all()
            self.look()
            self._resume(float("inf"))

    def look(self) -> None:
        """Learn which points were met and carried out meanwhile."""
        self._learn()
        self._collect()

    def arm(self, point: str, action: str) -> None:
        """Let the next process that comes to a point die or stop there."""
        name = digest(point)
        aside = self._folder / f"{name}.new"
        aside.write_text(action, "ascii")
        aside.replace(self._folder / "armed" / name)
        self._armed[name] = point, time.monotonic()

    def was_killed_at(self, point: str) -> bool:
        """Return whether a process died at a point."""
        self.look()
        return bool(self.visited["kill"][point])

    @property
    def seen(self) -> set[str]:
        """All points that any process met."""
        return set(self.names.values())

    def unvisited(self, action: str = "kill") -> list[str]:
        """Return the points at which no process was killed, or stopped."""
        return sorted(filter(self._only.search, self.seen - set(self.visited[action])))

    def _learn(self) -> None:
        for path in (self._folder / "seen").iterdir():
            for point in path.read_text("utf-8").splitlines():
                self.names[digest(point)] = point

    def _collect(self) -> None:
        """Count the points that were carried out, and note the processes that are stopped."""
        for path in (self._folder / "taken").iterdir():
            name, _, pid = path.name.partition(".")
            if name not in self.names:
                continue  # met since the last look: it is learnt at the next
            point, action = self.names[name], path.read_text("ascii")
            self.visited[action][point] += 1
            self._armed.pop(name, None)
            moment = time.monotonic()
            self._resting[role_of(point)] = moment + PAUSES_S[role_of(point)]
            if action == "stop":
                longest_s = LONGEST_STOP_S.get(role_of(point), STOP_S)
                self._stopped.append((moment + self._chance.uniform(0.3, longest_s), int(pid)))
            path.unlink()

    def _resume(self, moment: float) -> None:
        for due in [each for each in self._stopped if each[0] <= moment]:
            self._stopped.remove(due)
            dies = self._chance.random() < STAY_DEAD
            with suppress(psutil.NoSuchProcess):  # its watchdog may have killed it
                process = psutil.Process(due[1])
                if process.status() == psutil.STATUS_STOPPED:
                    process.send_signal(signal.SIGKILL if dies else signal.SIGCONT)

    def _arm(self, moment: float) -> None:
        for name, (point, since) in list(self._armed.items()):
            if moment - since > PATIENCE_S.get(role_of(point), OTHERS_PATIENCE_S):
                self._disarm(name)
                self._tries[point] += 1
        counts = Counter(role_of(point) for point, _ in self._armed.values())
        for role, most in ARMED_AT_ONCE.items():
            if role not in TURNS[int(moment / TURN_S) % len(TURNS)]:
                continue
            if counts[role] < most and moment >= self._resting[role]:
                self._arm_one(role)

    def _arm_one(self, role: str) -> None:
        armed = {point for point, _ in self._armed.values()}
        of_role = (point for point in self.seen if role_of(point) == role and self._only.search(point))
        points = sorted(point for point in of_role if point not in armed)
        if not points:
            return
        killed, stopped = self.visited["kill"], self.visited["stop"]
        # Those least visited first, then those least waited for in vain, then those that matter most.
        share = STOPS_LATER if all(killed[each] for each in points) else STOPS.get(role, 0.2)
        action = "stop" if self._chance.random() < share else "kill"
        counts = stopped if action == "stop" else killed
        rank = {each: (counts[each] > 0, self._tries[each], _order_of(each)) for each in points}
        first = min(rank.values())
        self.arm(self._chance.choice([each for each in points if rank[each] == first]), action)

    def _disarm(self, name: str) -> None:
        (self._folder / "armed" / name).unlink(missing_ok=True)
        self._armed.pop(name, None)

    def _disarm_all(self) -> None:
        for name in list(self._armed):
            self._disarm(name)
