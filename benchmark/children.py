"""The child processes of the benchmark: the parent must not hold the memory that it measures.

`bare KIND` draws without a server: each line of standard input is an object with one key, `close`, `warm_up`
or `draw`. Each other job reads one line, the plan. `bare-submits` serves the handler that submissions are
measured against. `load` submits its requests. `readers` opens its streams. `claims` claims when it reads
another line. `blocks` reads none and times two blocks of FLUX.1.
`saturation KIND` draws a turn for each line.
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

import inference  # noqa: F401  # for its effect: it sets what torch reads when it is imported


def answer(**fields: Any) -> None:
    """Write one line of JSON to the benchmark."""
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def draw_bare(kind: str) -> None:
    """Draw as the worker does, without a server, and encode the pictures as PNG."""
    # Imported here: the process that submits must not load torch.
    from benchmark.bare import BarePipeline  # noqa: PLC0415
    from inference.errors import InferenceError  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        bare = BarePipeline(kind, Path(folder))
        answer(ready=True, device=bare.device)
        for line in sys.stdin:
            ((command, argument),) = json.loads(line).items()
            try:
                answer(**bare.run(command, argument))
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
    """Submit from all clients at once: each sends its next request as soon as the last is answered."""
    del kind
    plan = json.loads(sys.stdin.readline())
    start = threading.Barrier(len(plan["clients"]) + 1)
    with ThreadPoolExecutor(len(plan["clients"])) as threads:
        futures = [threads.submit(_run_client, plan, client, start) for client in plan["clients"]]
        start.wait()
        began = time.perf_counter()
        outcomes = [outcome for future in futures for outcome in future.result()]
        seconds = time.perf_counter() - began
    latencies_s = [latency_s for _, latency_s in outcomes]
    answer(seconds=seconds, latencies_s=latencies_s, statuses=[status for status, _ in outcomes])


def _run_client(
    plan: dict[str, Any], client: dict[str, Any], start: threading.Barrier
) -> list[tuple[int, float]]:
    """Submit a client's requests; return the status and the latency in seconds of each."""
    connection = HTTPConnection(plan["host"], client["port"], timeout=60)
    connection.connect()
    path = f"/api/avatar-creator/projects/{client['project_id']}/avatars/generate"
    headers = {"Authorization": f"Bearer {client['token']}", "Content-Type": "application/json"}
    body = json.dumps({"name": "Ada", "prompt": plan["prompt"]})
    outcomes = []
    start.wait()
    for _ in range(client["requests"]):
        began = time.perf_counter()
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        response.read()
        outcomes.append((response.status, time.perf_counter() - began))
    connection.close()
    return outcomes


def read_streams(kind: str) -> None:
    """Open every stream of the plan, and read until standard input ends; some read nothing."""
    del kind
    # Imported here: the process that submits has no use for an event loop.
    from benchmark.readers import read_all  # noqa: PLC0415

    read_all(json.loads(sys.stdin.readline()), answer)


def claim_many(kind: str) -> None:
    """Claim what waits in a database, as many as the plan says, from the second line on."""
    del kind
    from benchmark.claims import claim_until  # noqa: PLC0415  # not for the process that submits

    plan = json.loads(sys.stdin.readline())
    claim_until(plan["url"], plan["most"], answer, sys.stdin.readline)


def saturate(kind: str) -> None:
    """Draw the turns of `benchmark.saturation`, bare and by the worker's loop, as the lines say."""
    from benchmark.saturated import run_turns  # noqa: PLC0415  # it imports torch

    run_turns(kind, map(json.loads, sys.stdin), answer)


def serve_bare(kind: str) -> None:
    """Serve the handler that only commits the rows of a submission."""
    del kind
    from benchmark.bare_submits import serve  # noqa: PLC0415  # not for the process that submits

    plan = json.loads(sys.stdin.readline())
    serve(plan["file"], plan["generation"], answer)


JOBS: dict[str, Callable[[str], None]] = {
    "bare": draw_bare,
    "bare-submits": serve_bare,
    "load": submit_load,
    "blocks": time_blocks,
    "claims": claim_many,
    "readers": read_streams,
    "saturation": saturate,
}

if __name__ == "__main__":
    JOBS[sys.argv[1]](sys.argv[2])
