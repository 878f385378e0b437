import json
import shutil
import signal
import struct
import subprocess
import sys

import httpx
import psutil
import pytest
from redis import Redis
from sqlalchemy import select

from server.credits.repository import Ledger
from server.credits.tables import Transfer
from server.events.repository import Events
from tests.e2e.program import COMMAND_TIMEOUT_S, READY_TIMEOUT_S, environment, wait_for

pytestmark = pytest.mark.e2e

SCHNELL = "avatar-creator:flux-schnell-fast"  # four steps: for generations that end soon
REALISM = "avatar-creator:flux-dev-realism"
CHARGED = ["hold", "capture"]
VOIDED = ["hold", "void"]
BUILD = """
import sys
from pathlib import Path
from inference.miniature.building import build_miniature
build_miniature(Path(sys.argv[1]))
"""


def submitted(user, count, **wish):
    """Request a number of avatars at once and return their generations' ids."""
    return [user.generate(**wish)["generation"]["id"] for _ in range(count)]


def wait_until_processing(user, generation_id):
    """Wait until a worker draws a generation."""
    wait_for(f"{generation_id} is drawn", lambda: user.generation(generation_id)["status"] == "processing")


def statuses(user, generation_ids):
    """Wait until all generations have ended, and return their statuses."""
    return [user.ended(generation_id)["status"] for generation_id in generation_ids]


def workers_check(program):
    """Return what /readyz says of the workers; nothing while the API does not answer."""
    try:
        answer = httpx.get(f"{program.url}/readyz", trust_env=False)
    except httpx.TransportError:
        return ""
    assert answer.status_code in (200, 503)
    return answer.json()["checks"]["workers"]


def event_kinds(program, generation_id):
    """Return the kinds of a generation's events in order, without the steps: a fast drawing records none."""
    with program.reading() as tx:
        return [event.kind for event in Events(tx).of(generation_id) if event.kind != "step"]


def transfer_kinds(program, generation_id):
    """Check that the ledger balances, and return the kinds of a generation's transfers, in order."""
    with program.reading() as tx:
        assert Ledger(tx).sum_of_postings() == 0
        assert Ledger(tx).drifts() == []
        statement = select(Transfer.kind).where(Transfer.reference_id == generation_id).order_by(Transfer.id)
        return list(tx.session.scalars(statement))


class TestParts:
    def test_the_worker(self, program):
        """A generation whose worker is killed in the middle is drawn by the next one and charged once."""
        user = program.new_user("free")
        [generation_id] = submitted(user, 1)
        wait_until_processing(user, generation_id)
        program.child("server.worker").kill()
        ended = user.ended(generation_id)
        assert (ended["status"], ended["attempt"]) == ("completed", 2)
        assert event_kinds(program, generation_id) == ["queued", "claimed", "lost", "claimed", "completed"]
        assert transfer_kinds(program, generation_id) == CHARGED
        assert user.balance() == 92

    def test_redis(self, program):
        """Killing Redis loses no queued generation: the worker goes on, and Redis is restarted."""
        user = program.new_user("basic")
        worker, redis = program.child("server.worker"), program.child("valkey-server")
        ids = submitted(user, 4, modelKey=SCHNELL)
        redis.kill()
        ids += submitted(user, 1, modelKey=SCHNELL)
        assert statuses(user, ids) == ["completed"] * 5
        assert user.balance() == 100 - 5 * 6
        assert program.child("server.worker") == worker
        assert program.child("valkey-server") != redis
        assert [transfer_kinds(program, generation_id) for generation_id in ids] == [CHARGED] * 5

    def test_an_emptied_redis(self, program):
        """FLUSHALL loses no queued generation."""
        user = program.new_user("basic")
        ids = submitted(user, 4, modelKey=SCHNELL)
        with Redis.from_url((program.data_dir / "redis.url").read_text("utf-8")) as redis:
            assert redis.flushall()
        assert statuses(user, ids) == ["completed"] * 4
        assert user.balance() == 100 - 4 * 6
        assert [transfer_kinds(program, generation_id) for generation_id in ids] == [CHARGED] * 4

    def test_the_api(self, program):
        """A killed API is restarted at its address; a request that came meanwhile only waits."""
        user = program.new_user("basic")
        ids = submitted(user, 2, modelKey=SCHNELL)
        api = program.child("server.cli api")
        api.kill()
        api.wait(COMMAND_TIMEOUT_S)
        assert user.balance() == 100 - 2 * 6
        assert program.child("server.cli api") != api
        assert statuses(user, ids) == ["completed"] * 2

    def test_a_second_up(self, program):
        """A second `up` on the same data refuses and names the process that holds it."""
        refused = program.run("up", "--port", "0", "--json")
        assert refused.returncode == 1
        assert f"in use by the process {program.pid}." in refused.stderr
        assert refused.stdout == ""
        assert program.child("server.worker").is_running()


class TestUp:
    def test_killed(self, launch):
        """When `up` is killed its processes end, and the next `up` finishes the work that is left."""
        program = launch()
        program.start_json()
        user = program.new_user("free")
        ids = submitted(user, 3)
        wait_until_processing(user, ids[0])
        redis = program.child("valkey-server")
        orphans = program.kill()
        # Redis does not end with its parent. It keeps no state of its own: the next `up` ends it.
        own = [orphan for orphan in orphans if orphan != redis]
        _, alive = psutil.wait_procs(own, timeout=COMMAND_TIMEOUT_S)
        assert alive == []
        program.start_json()
        assert not redis.is_running()
        assert statuses(user, ids) == ["completed"] * 3
        assert user.balance() == 100 - 3 * 8
        assert [transfer_kinds(program, generation_id) for generation_id in ids] == [CHARGED] * 3
        program.stop()

    def test_stopped_by_sigterm(self, launch):
        """On SIGTERM a generation is finished within the grace, or released if there is no grace."""
        program = launch(SHUTDOWN_GRACE_S="0")
        program.start_json()
        user = program.new_user("free")
        [released] = submitted(user, 1)
        wait_until_processing(user, released)
        program.stop(signal.SIGTERM)
        assert event_kinds(program, released) == ["queued", "claimed", "released"]
        del program.changes["SHUTDOWN_GRACE_S"]
        program.start_json()
        assert statuses(user, [released]) == ["completed"]
        assert transfer_kinds(program, released) == CHARGED
        [finished] = submitted(user, 1)
        wait_until_processing(user, finished)
        program.stop(signal.SIGTERM)
        assert event_kinds(program, finished) == ["queued", "claimed", "completed"]
        assert transfer_kinds(program, finished) == CHARGED


@pytest.fixture
def miniature(models_dir):
    """The folder of the miniature, built if no other test has built it."""
    subprocess.run(
        [sys.executable, "-c", BUILD, str(models_dir)],
        env=environment(),
        check=True,
        timeout=COMMAND_TIMEOUT_S,
    )
    [folder] = models_dir.glob("miniature-*")
    return folder


def without_block(lora, block):
    """Return a safetensors file without the tensors of one block, and the number of those tensors."""
    (length,) = struct.unpack("<Q", lora[:8])
    header, data = json.loads(lora[8 : 8 + length]), lora[8 + length :]
    kept, rest = {}, b""
    for key, tensor in header.items():
        if not key.startswith(block):
            begin, end = tensor["data_offsets"]
            kept[key] = tensor | {"data_offsets": [len(rest), len(rest) + end - begin]}
            rest += data[begin:end]
    text = json.dumps(kept).encode()
    return struct.pack("<Q", len(text)) + text + rest, len(header) - len(kept)


class TestWeights:
    def test_no_card(self, launch, tmp_path):
        """FLUX.1 without a card is never ready, and the log and the readiness say why."""
        program = launch(MODEL_PROFILE="full", models_dir=tmp_path)
        program.begin_at_free_port()
        why = "cpu cannot draw: FLUX.1 needs a card, and none can be used: Torch not compiled with CUDA"
        wait_for("/readyz says why", lambda: why in workers_check(program), READY_TIMEOUT_S)
        assert "worker.device_unfit" in program.tail()
        wait_for("up says why", lambda: "up.not_ready" in program.tail())
        assert "Traceback" not in program.tail()
        program.stop()

    def test_a_broken_lora(self, launch, miniature, tmp_path):
        """With a LoRA that lacks a block the realism entry draws nothing, and the base entry still draws."""
        models = tmp_path / "models"
        shutil.copytree(miniature, models / miniature.name)
        file = models / miniature.name / "XLabs-AI/flux-RealismLora/lora.safetensors"
        broken, removed = without_block(file.read_bytes(), "double_blocks.1.processor.qkv")
        assert removed > 0
        file.write_bytes(broken)
        program = launch(models_dir=models)
        program.start_json()
        user = program.new_user("basic")
        realism, base = submitted(user, 1) + submitted(user, 1, modelKey="avatar-creator:flux-dev-base")
        ended = user.ended(realism)
        assert (ended["status"], ended["errorCode"], ended["avatarId"]) == ("failed", "MODEL_LOADING", None)
        assert "XLabs-AI/flux-RealismLora does not fit its base model" in ended["errorMessage"]
        assert transfer_kinds(program, realism) == VOIDED
        assert statuses(user, [base]) == ["completed"]
        assert user.balance() == 100 - 8
        assert len(user.get(f"projects/{user.project_id}")["project"]["avatars"]) == 1
        program.stop()
