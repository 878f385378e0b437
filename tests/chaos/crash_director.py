"""Lets processes die and stop at crash points, and keeps which points were seen, killed at and stopped at."""

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
TURNS = ({*PAUSES_S}, {*PAUSES_S} - {"watchdog"}, LIGHT)
"""Roles take turns: a local worker never draws if its watchdog dies often, or beside many that start."""
ARMED_AT_ONCE = 3
"""So many points of a role that was killed at all of its points are armed, as long as this:"""
PATIENCE_S = 15.0
LONGEST_STOP_S = {"local worker": 12.0, "hosted worker": 12.0}
"""Past the deadline of a phase the watchdog kills a worker that stands still."""
STOP_S = 5.0
STOPS = {"local worker": 0.05, "command": 0.05}
"""How often a process is stopped and not killed while points are left: rarely where a start takes long."""
OTHERS_STOPS, STOPS_LATER = 0.15, 0.7
STAY_DEAD = 0.2  # of the stopped processes: they are killed and not resumed


def role_of(point: str) -> str:
    """Return the kind of process in a point's name."""
    return point.split(" | ", 1)[0]


def use_case_of(point: str) -> str:
    """Return the kind of process and the use case in a point's name."""
    return point.rsplit(" | ", 1)[0]


class CrashDirector:
    """Lets the next process of each role die that comes to a point where none died before.

    So a point that is rarely met is visited when it is first met. Where a role has none left, points are
    armed by chance.

    only: a regular expression; just these points are armed.
    """

    def __init__(self, folder: Path, chance: random.Random, only: str = "") -> None:
        self._folder = folder
        self._only = re.compile(only)
        self._chance = chance
        self._armed: dict[str, tuple[str, float]] = {}
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
        self._put(f"armed/{name}", action)
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

    def _put(self, path: str, action: str) -> None:
        aside = self._folder / "aside"
        aside.write_text(action, "ascii")
        aside.replace(self._folder / path)

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
            if action == "kill":
                (self._folder / "visited" / name).touch()
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
        for name, (_, since) in list(self._armed.items()):
            if moment - since > PATIENCE_S:
                self._disarm(name)
        counts = Counter(role_of(point) for point, _ in self._armed.values())
        left = Counter(map(role_of, self.unvisited()))
        for role in PAUSES_S:
            if role not in TURNS[int(moment / TURN_S) % len(TURNS)]:
                self._forbid(role)
            elif moment >= self._resting[role]:
                if not self._only.pattern:
                    self._let_one_die(role, left[role] > 0)
                if not left[role] or self._only.pattern:
                    self._arm_by_chance(role, ARMED_AT_ONCE - counts[role])

    def _let_one_die(self, role: str, is_any_left: bool) -> None:
        """Let the next process of a role die, or stop, that comes to a point where none died."""
        if not (self._folder / "unvisited" / role).exists():
            share = STOPS.get(role, OTHERS_STOPS) if is_any_left else 0.0
            self._put(f"unvisited/{role}", "stop" if self._chance.random() < share else "kill")

    def _arm_by_chance(self, role: str, count: int) -> None:
        """Arm points of a role, those first that were visited least."""
        armed = {point for point, _ in self._armed.values()}
        points = [point for point in sorted(self.seen - armed) if role_of(point) == role]
        points = list(filter(self._only.search, points))
        are_all_visited = all(self.visited["kill"][point] for point in points)
        action = "stop" if are_all_visited and self._chance.random() < STOPS_LATER else "kill"
        self._chance.shuffle(points)
        points.sort(key=lambda point: self.visited[action][point])
        for point in points[:count]:
            self.arm(point, action)

    def _forbid(self, role: str) -> None:
        (self._folder / "unvisited" / role).unlink(missing_ok=True)

    def _disarm(self, name: str) -> None:
        (self._folder / "armed" / name).unlink(missing_ok=True)
        self._armed.pop(name, None)

    def _disarm_all(self) -> None:
        for name in list(self._armed):
            self._disarm(name)
        for role in PAUSES_S:
            self._forbid(role)
