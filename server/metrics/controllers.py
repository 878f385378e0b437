"""The route that a Prometheus scrapes."""

from collections.abc import Iterable
from typing import Final

from litestar import Response, get
from litestar.di import NamedDependency
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from server.errors import DatabaseAway
from server.metrics.families import families
from server.metrics.readings import Reading, read
from server.services import Services

TEXT_FORMAT: Final = (
    "text/plain; version=0.0.4"  # Source: Prometheus, exposition formats; Litestar adds the charset
)


class ServerCollector(Collector):
    """Reads the server's metrics anew at every scrape."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def collect(self) -> Iterable[Metric]:
        """Return the metrics as they are now, without those of a part that does not answer."""
        # Redis first, as the reaper looks: a ring waits a moment longer than its generation.
        rings = self._services.bell.waiting()
        return families(self._reading(), rings)

    def _reading(self) -> Reading | None:
        try:
            with self._services.uow.read() as tx:
                return read(tx)
        except DatabaseAway:
            return None


@get("/metrics", public=True, sync_to_thread=True, media_type=TEXT_FORMAT)
def metrics(services: NamedDependency[Services]) -> Response[bytes]:
    """Tell a Prometheus how the server does."""
    registry = CollectorRegistry()  # its own: the default one has the process's figures, which differ
    registry.register(ServerCollector(services))
    return Response(generate_latest(registry), media_type=TEXT_FORMAT)
