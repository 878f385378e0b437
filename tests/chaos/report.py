"""The report of a campaign: counts by fault and by point, violations, times; as JSON and as a short table."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.crash_director import CrashDirector, use_case_of


@dataclass
class Report:
    """What a campaign did and found."""

    database: str
    seed: int
    planned_s: float
    disk: str
    took_s: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    points_seen: int = 0
    points_killed_at: int = 0
    points_stopped_at: int = 0
    unvisited: list[str] = field(default_factory=list)
    unstopped: list[str] = field(default_factory=list)
    kills_by_use_case: dict[str, int] = field(default_factory=dict)
    use_cases: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    seconds_to_ready: list[float] = field(default_factory=list)
    seconds_to_quiet: list[float] = field(default_factory=list)
    """After the faults until all parts are ready, and after the load until all has ended."""
    calm_requests: int = 0
    calm_p99_s: float | None = None
    slowest_s: list[tuple[float, str]] = field(default_factory=list)

    def take_points(self, director: CrashDirector) -> None:
        """Take over which points were seen and visited."""
        self.points_seen = len(director.seen)
        self.points_killed_at = len(director.visited["kill"])
        self.points_stopped_at = len(director.visited["stop"])
        self.unvisited, self.unstopped = director.unvisited("kill"), director.unvisited("stop")
        kills: Counter[str] = Counter()
        for point, count in director.visited["kill"].items():
            kills[use_case_of(point)] += count
        self.kills_by_use_case = dict(sorted(kills.items()))
        self.use_cases = sorted({use_case_of(point) for point in director.seen})

    def take_samples(
        self, samples: Sequence[tuple[float, float, str, int]], calm: Sequence[tuple[float, float]]
    ) -> None:
        """Compute the p99 of the requests that began and ended in a calm window, those that wait left out."""
        within = sorted(
            (seconds, what)
            for began, seconds, what, _ in samples
            if what != "wait" and any(first <= began and began + seconds <= last for first, last in calm)
        )
        self.calm_requests = len(within)
        if within:
            self.calm_p99_s = round(within[math.ceil(0.99 * len(within)) - 1][0], 3)
            self.slowest_s = [(round(seconds, 3), what) for seconds, what in within[-5:]]

    def write(self, file: Path) -> None:
        """Write it as JSON."""
        file.parent.mkdir(parents=True, exist_ok=True)
        content: dict[str, Any] = vars(self) | {"faults": dict(sorted(self.faults.items()))}
        file.write_text(json.dumps(content, indent=2), "utf-8")

    def table(self) -> str:
        """Return the short form."""
        ready = max(self.seconds_to_ready, default=math.nan)
        quiet = max(self.seconds_to_quiet, default=math.nan)
        again = f"CHAOS_SEED={self.seed} CHAOS_S={self.planned_s:g} ARGS='-k {self.database}'"
        points = (
            f"{self.points_seen} seen, {self.points_killed_at} killed at, {self.points_stopped_at} stopped at"
        )
        lines = [
            f"chaos on {self.database}, seed {self.seed}, {self.took_s:.0f} s, disk: {self.disk}",
            f"  faults       {sum(self.faults.values())} of {len(self.faults)} kinds",
            f"  crash points {points}, {len(self.unvisited)} never killed at",
            f"  violations   {len(self.violations)}",
            f"  quiet        ready {ready:.1f} s after the faults, quiet {quiet:.1f} s after the load",
            f"  calm p99     {self.calm_p99_s} s of {self.calm_requests} requests; slowest {self.slowest_s}",
            f"  again        make chaos {again}",
        ]
        lines += [f"  {count:5}  {fault}" for fault, count in sorted(self.faults.items())]
        return "\n".join([*lines, *(f"  VIOLATION {words}" for words in self.violations)])
