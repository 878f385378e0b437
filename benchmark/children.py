"""What the benchmark runs in processes of their own, so that it holds none of the memory that it measures.

`bare KIND` draws without a server: each line of standard input is an object with one key, `close`, `warm_up`
or `draw`. `load` reads one line, the plan, and submits by it. `blocks` times FLUX.1's blocks by themselves.
"""

import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any


def answer(**told: Any) -> None:
    """Tell the benchmark one line."""
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


def draw_bare(kind: str) -> None:
    """Draw as the worker does, without a server, and encode what the worker stores as PNG."""
    # Here and not above: the process that submits has no use for torch.
    from benchmark.bare import BarePipeline  # noqa: PLC0415
    from inference.errors import InferenceError  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        bare = BarePipeline(kind, Path(folder))
        answer(ready=True, device=bare.device)
        for line in sys.stdin:
            ((what, order),) = json.loads(line).items()
            try:
                answer(**bare.do(what, order))
            except InferenceError as error:
                answer(problem=str(error))
        bare.close()


def time_blocks(kind: str) -> None:
    """Time one double and one single block of FLUX.1's width."""
    from benchmark.blocks import time_both  # noqa: PLC0415

    del kind
    time_both(answer)
    answer(done=True)


def submit_load(kind: str) -> None:
    """Let every client submit over one connection as fast as it is answered."""
    del kind
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


JOBS: dict[str, Callable[[str], None]] = {"bare": draw_bare, "load": submit_load, "blocks": time_blocks}

if __name__ == "__main__":
    JOBS[sys.argv[1]](sys.argv[2])
