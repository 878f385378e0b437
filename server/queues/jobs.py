"""What the queue may carry: the ring of a bell, and nothing else."""

from collections.abc import Callable
from typing import Any, ClassVar, Final

from rq import Queue
from rq.job import Job
from rq.serializers import JSONSerializer

QUEUE: Final = "generations"
RING: Final = "ring"


class CallableForbidden(PermissionError):
    """A payload in Redis names a function that the queue does not carry."""

    def __init__(self, name: str | None) -> None:
        super().__init__(f"the queue does not carry {name!r}")
        self.name = name


class BellJob(Job):
    """A job whose name is looked up in a list and never imported.

    RQ imports whatever a payload names, however it is serialised; who can write to Redis could run
    anything. Here a name means only what the worker has put behind it.
    """

    answers: ClassVar[dict[str, Callable[[str], object]]] = {}

    @property
    def func(self) -> Callable[..., Any]:
        """The function behind the job's name.

        Raises:
            CallableForbidden: the name is not in the list.

        """
        if self.instance is not None or self.func_name not in self.answers:
            raise CallableForbidden(self.func_name)
        return self.answers[self.func_name]


def open_queue(connection: Any) -> Queue:
    """Return the one queue: JSON on the wire, no import of what it names."""
    return Queue(QUEUE, connection=connection, job_class=BellJob, serializer=JSONSerializer)
