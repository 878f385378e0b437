"""Measures the upload of the largest photograph that is accepted: receiving, decoding, storing, paying."""

import json
import statistics
import time
from http.client import HTTPConnection
from io import BytesIO
from typing import Any, Final

import numpy as np
from PIL import Image

from benchmark.plan import Advance, Plan
from benchmark.record import Figure, percentile
from benchmark.running import TIMEOUT_S, database, prepared_folder, running_api
from benchmark.serving import CREDITS, MIB, new_client
from server.credits.repository import Ledger
from server.routes.uploads import MAX_IMAGE_BYTES
from server.uploads.service import PRICE

SIZE_PX: Final = (4000, 3000)  # 12 megapixels, as a phone's camera has
GRAIN_PX: Final = (1000, 750)
SEED: Final = 7
BOUNDARY: Final = "benchmark"
OK: Final = 200


def measure_uploads(plan: Plan, advance: Advance) -> list[Figure]:
    """Upload the same JPEG of 10 MB one after another; then check the balance and the stored files."""
    image = photograph()
    seconds, answers = [], []
    with prepared_folder() as data_dir, database(data_dir) as uow:
        client = new_client(uow)
        with running_api(data_dir, plan.weights) as (process, port):
            upload(port, client, image)  # starts the decoder and warms it
            for _ in range(plan.effort.uploads):
                advance("uploading a JPEG of 10 MB")
                began = time.perf_counter()
                answers.append(upload(port, client, image))
                seconds.append(time.perf_counter() - began)
            resident = process.memory_info().rss / MIB
        with uow.read() as tx:
            paid = CREDITS - Ledger(tx).available(client["user_id"])
        folder = data_dir / "images" / "avatars"
        stored = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    accepted = 1 + sum(status == OK for status, _ in answers)
    return [
        Figure("upload: a JPEG of 10 MB, p50", statistics.median(seconds), "s"),
        Figure("upload: a JPEG of 10 MB, p95", percentile(seconds, 95), "s"),
        Figure("upload: sent for each", len(image) / MIB, "MiB"),
        Figure("upload: stored for each", stored / MIB / accepted, "MiB"),
        Figure("upload: not accepted", 1 + len(answers) - accepted, "", at_most=0),
        Figure("upload: credits that do not agree", abs(paid - PRICE * accepted), "", at_most=0),
        Figure("upload: resident memory afterwards, in the API", resident, "MiB", at_most=250),
    ]


def photograph() -> bytes:
    """Return a JPEG of 12 megapixels with grain, of just less than the largest size that is accepted."""
    rng = np.random.default_rng(SEED)
    grain = rng.normal(128, 40, (*reversed(GRAIN_PX), 3)).clip(0, 255).astype(np.uint8)
    picture = Image.fromarray(grain).resize(SIZE_PX, Image.Resampling.BICUBIC)
    encoded = (_jpeg(picture, quality) for quality in range(100, 0, -1))
    return next(content for content in encoded if len(content) <= MAX_IMAGE_BYTES)


def upload(port: int, client: dict[str, Any], image: bytes) -> tuple[int, dict[str, Any]]:
    """Upload an image over a connection of its own; return the status and the answer."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
    name = f'\r\n--{BOUNDARY}\r\nContent-Disposition: form-data; name="name"\r\n\r\nAda\r\n--{BOUNDARY}--\r\n'
    headers = {
        "Authorization": f"Bearer {client['token']}",
        "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
    }
    connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    path = f"/api/avatar-creator/projects/{client['project_id']}/avatars/upload"
    connection.request("POST", path, head.encode() + image + name.encode(), headers)
    answer = connection.getresponse()
    body = json.load(answer)
    connection.close()
    return answer.status, body


def _jpeg(picture: Image.Image, quality: int) -> bytes:
    file = BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()
