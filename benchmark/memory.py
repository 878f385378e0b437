"""The peak memory of this process, which can be reset where the system allows it."""

import resource
import sys
from pathlib import Path
from typing import Final

# Source: proc(5): writing 5 resets the peak of the resident set, VmHWM.
_CLEAR: Final = Path("/proc/self/clear_refs")
_STATUS: Final = Path("/proc/self/status")


class ProcessPeak:
    """The peak of the resident set since the last reset on Linux, on other systems since the start."""

    def reset(self) -> None:
        """Set the peak to the memory that the process holds now."""
        try:
            _CLEAR.write_text("5", "ascii")
        except OSError:
            return  # not Linux, or a container forbids it: the peak stays the largest so far

    def mib(self) -> float:
        """Return the peak in MiB."""
        try:
            lines = _STATUS.read_text("ascii", errors="replace").splitlines()
        except OSError:
            lines = []
        peaks_kib = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
        if peaks_kib:
            return peaks_kib[0] / 2**10
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 2**20 if sys.platform == "darwin" else peak / 2**10  # bytes on macOS, KiB elsewhere
