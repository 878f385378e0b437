"""A real server with a worker that draws by a script."""

from tests.server.dialects.conftest import cutter, drawing, generations  # noqa: F401  # fixtures
from tests.server.routes.conftest import live, serve  # noqa: F401  # fixtures
from tests.server.worker.conftest import heartbeat, images, make_runner  # noqa: F401  # fixtures
