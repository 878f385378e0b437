"""Compiles the blocks of transformers, and does without when that fails.

Four graphs serve every size, text length, model and variant at batch 1, and four more from batch 2 on: sizes
are dynamic but for 1, which torch specialises.
"""

from collections.abc import Callable
from typing import Final, TypeVar
from weakref import WeakSet

import structlog
import torch
from diffusers import FluxTransformer2DModel
from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException

from inference.local import devices

T = TypeVar("T")

INDUCTOR: Final = "inductor"
LOGGED: Final = (
    700  # characters of each end: the first say which part failed, the last what the compiler said
)

_FAILURES: Final = (TorchDynamoException, FailOnRecompileLimitHit)
log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class Compilation:
    """Compiles until it fails for the first time; from then on every transformer runs eagerly."""

    def __init__(self, backend: str | Callable[..., object] = INDUCTOR) -> None:
        """Compile nothing yet. backend: as `torch.compile` takes it."""
        self._backend = backend
        self._compiled: WeakSet[FluxTransformer2DModel] = WeakSet()
        self.failed = False

    def compile(self, transformer: FluxTransformer2DModel) -> None:
        """Have the blocks of a transformer compiled when they are first called."""
        if self.failed:
            return
        transformer.compile_repeated_blocks(fullgraph=True, dynamic=True, backend=self._backend)
        self._compiled.add(transformer)

    def guard(self, work: Callable[[], T], errors: tuple[type[Exception], ...] = _FAILURES) -> T:
        """Return what the work returns; if it fails to compile, run it once more without compiling."""
        try:
            return work()
        except errors as error:
            if self.failed or devices.is_out_of_memory(error) or devices.is_device_broken(error):
                raise
            log.warning("compile.failed", error=_both_ends(f"{type(error).__name__}: {error}"))
        self._give_up()
        return work()

    def warm_up(self, work: Callable[[], T]) -> T:
        """Run the first calls. Compilers raise errors of all kinds there, and each counts as a failure."""
        return self.guard(work, (Exception,))

    def _give_up(self) -> None:
        self.failed = True
        for transformer in self._compiled:
            for module in transformer.modules():
                module._compiled_call_impl = None  # noqa: SLF001  # torch has no other way back
        torch._dynamo.reset()  # noqa: SLF001  # as above: frees what was compiled


def _both_ends(text: str) -> str:
    return text if len(text) <= 2 * LOGGED else f"{text[:LOGGED]} … {text[-LOGGED:]}"
