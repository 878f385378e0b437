"""What the benchmark runs in processes of their own: the bare pipeline, and the clients that submit.

`python benchmark_children.py bare` draws the order in each line of standard input.
`python benchmark_children.py load` reads one line, the plan, and submits by it.
"""

import json
import resource
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from io import BytesIO
from typing import Any


def answer(**told: Any) -> None:
    """Tell the benchmark one line."""
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


def draw_bare() -> None:
    """Draw with the worker's own backend, without a server, and encode what the worker stores as PNG."""
    # Here and not above: the process that submits has no use for torch.
    from inference.backend import Order  # noqa: PLC0415
    from server.settings import Settings  # noqa: PLC0415
    from server.worker.backends import make_backend  # noqa: PLC0415

    settings = Settings.from_environment()
    backend = make_backend(settings, settings.backends[0])
    answer(ready=True)
    for line in sys.stdin:
        order = Order.of_recipe(json.loads(line))
        began = time.perf_counter()
        picture = backend.generate(order, lambda _: None)
        drawn = time.perf_counter()
        picture.image.save(BytesIO(), "PNG")
        encoded = time.perf_counter()
        answer(draw_s=drawn - began, encode_s=encoded - drawn, peak_mib=peak_mib())
    backend.close()


def peak_mib() -> float:
    """Return the most memory that this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10  # bytes there, KiB elsewhere


def submit_load() -> None:
    """Let every client submit over one connection as fast as it is answered."""
    plan = json.loads(sys.stdin.readline())
    together = threading.Barrier(len(plan["clients"]) + 1)
    with ThreadPoolExecutor(len(plan["clients"])) as threads:
        running = [threads.submit(_one_client, plan, client, together) for client in plan["clients"]]
        together.wait()
        began = time.perf_counter()
        outcomes = [outcome for done in running for outcome in done.result()]
        seconds = time.perf_counter() - began
    latencies_s = [latency_s for _, latency_s in outcomes]
    answer(seconds=seconds, latencies_s=latencies_s, statuses=[status for status, _ in outcomes])


def _one_client(
    plan: dict[str, Any], client: dict[str, Any], together: threading.Barrier
) -> list[tuple[int, float]]:
    """Submit a client's share; return each answer's status and its latency in seconds."""
    connection = HTTPConnection(plan["host"], plan["port"], timeout=60)
    connection.connect()
    path = f"/api/avatar-creator/projects/{client['project_id']}/avatars/generate"
    headers = {"Authorization": f"Bearer {client['token']}", "Content-Type": "application/json"}
    body = json.dumps({"name": "Ada", "prompt": plan["prompt"]})
    outcomes = []
    together.wait()
    for _ in range(client["requests"]):
        began = time.perf_counter()
        connection.request("POST", path, body, headers)
        answered = connection.getresponse()
        answered.read()
        outcomes.append((answered.status, time.perf_counter() - began))
    connection.close()
    return outcomes


if __name__ == "__main__":
    {"bare": draw_bare, "load": submit_load}[sys.argv[1]]()
