"""A number that was measured, and what it should be."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One number that was measured, and what it should be."""

    name: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None

    @property
    def target(self) -> str:
        """The target in words, empty where there is none."""
        if self.at_most is not None:
            return f"at most {self.at_most:g} {self.unit}".strip()
        return f"at least {self.at_least:g} {self.unit}".strip() if self.at_least is not None else ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met, None where there is none."""
        if self.at_most is not None:
            return self.value <= self.at_most
        return self.value >= self.at_least if self.at_least is not None else None


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the value below which so many percent of the values lie; of a single value, that one."""
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
