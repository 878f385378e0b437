"""Describes what the figures depend on: the machine, the versions and the commit."""

import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own

PACKAGES: Final = ("avatar-creator", "torch", "diffusers", "litestar", "sqlalchemy", "rq", "uvicorn")
ROOT: Final = Path(__file__).parents[1]


def describe_machine() -> dict[str, Any]:
    """Return what the figures depend on: the machine, the versions and the commit."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "accelerator": accelerator(),
        "python": platform.python_version(),
        "versions": {package: _version(package) for package in PACKAGES},
        "commit": _commit(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )


def accelerator() -> str:
    """Return the GPU's name, or `none`."""
    code = "import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else 'none')"
    # In a child process: the benchmark must not hold the memory that it measures.
    query = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)  # noqa: S603  # fixed words
    return query.stdout.strip() or "unknown"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    """Return the checkout's commit; an installed package has a version and no commit."""
    if not (ROOT / ".git").exists():
        return "unknown"
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    described = subprocess.run(git, check=False, capture_output=True, text=True)  # noqa: S603  # fixed words
    return described.stdout.strip() or "unknown"
