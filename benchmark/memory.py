"""The most memory that this process has held, counted anew where the system allows it."""

import resource
import sys
from pathlib import Path
from typing import Final

# Source: proc(5): writing 5 resets the peak of the resident set, VmHWM.
_CLEAR: Final = Path("/proc/self/clear_refs")
_STATUS: Final = Path("/proc/self/status")


class ProcessPeak:
    """The peak of the resident set since it was last forgotten; elsewhere than on Linux, since the start."""

    def forget(self) -> None:
        """Begin anew from what is held now."""
        try:
            _CLEAR.write_text("5", "ascii")
        except OSError:
            return  # no Linux, or a container that forbids it: the peak stays that of all so far

    def mib(self) -> float:
        """Return the peak in MiB."""
        try:
            lines = _STATUS.read_text("ascii", errors="replace").splitlines()
        except OSError:
            lines = []
        told_kib = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
        if told_kib:
            return told_kib[0] / 2**10
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 2**20 if sys.platform == "darwin" else peak / 2**10  # bytes there, KiB elsewhere
