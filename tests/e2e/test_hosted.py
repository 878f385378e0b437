"""The whole program without an accelerator: hosted providers draw, accounts and provenance are right."""

from io import BytesIO

import pytest
from PIL import Image

from server.credits.repository import Ledger
from server.events.repository import Events
from tests.e2e.program import wait_for
from tests.inference.hosted.box import KEY

pytestmark = pytest.mark.e2e

REALISM = "avatar-creator:flux-dev-realism"
MAX_WORKER_MIB = 120


@pytest.fixture(scope="class")
def program(start_hosted):
    """A running program with all providers."""
    running = start_hosted()
    yield running
    running.stop()


def refuse(conversation):
    conversation.say(401, {"error": "Invalid credentials"})


class TestHosted:
    def test_the_realism_entry_has_its_adapter(self, program, box):
        """The provider that draws a realism entry was sent the LoRA at 0.9, and the provenance records it."""
        user = program.new_user("basic")
        ended = user.ended(user.generate(seed=7)["generation"]["id"])
        assert ended["status"] == "completed"
        assert user.balance() == 100 - 12
        assert box.orders[-1].body["loras"][0]["scale"] == 0.9
        assert ended["madeWith"] == {
            "backend": "huggingface",
            "provider": "fal-ai",
            "modelId": "black-forest-labs/FLUX.1-dev",
            "modelRevision": None,
            "loraModel": "XLabs-AI/flux-RealismLora",
            "loraScale": 0.9,
            "seed": 7,
            "profile": None,
        }
        with program.reading() as tx:
            provenance = Events(tx).of(ended["id"])[-1].data["provenance"]
        assert (provenance["backend"], provenance["provider"]) == ("huggingface", "fal-ai")
        assert (provenance["adapter"]["scale"], provenance["seed"]) == (0.9, 7)
        assert provenance["cost_microusd"] == 35_000

    def test_the_avatar_has_the_size_that_was_ordered(self, program):
        """What a client downloads is a PNG of the entry's size."""
        drawn = Image.open(BytesIO(program.new_user("free").drawn()))
        assert (drawn.format, drawn.size) == ("PNG", (512, 512))

    def test_a_refused_key_costs_no_credits(self, program, box):
        """If every provider refuses the key, the credits return and the log says what to check."""
        user = program.new_user("free")
        box.will("fal-ai", refuse)
        box.will("replicate", refuse)
        box.will("hf-inference", refuse)
        ended = user.ended(user.generate()["generation"]["id"])
        assert (ended["status"], ended["errorCode"]) == ("failed", "AI_PROVIDER_ERROR")
        assert ended["errorMessage"].startswith("AI_PROVIDER_ERROR")
        assert user.balance() == 100
        with program.reading() as tx:
            attempts = Events(tx).of(ended["id"])[-1].data["asked"]
        assert [attempt["provider"] for attempt in attempts] == ["fal-ai", "replicate", "hf-inference"]
        assert "check HUGGINGFACE_API_KEY" in program.tail()
        wait_for("/readyz names the key", lambda: "check HUGGINGFACE_API_KEY" in self.hosted(user))
        assert user.ended(user.generate()["generation"]["id"])["status"] == "completed"
        wait_for("/readyz reports ok again", lambda: self.hosted(user) == "ok")

    @staticmethod
    def hosted(user):
        """Return what readiness reports about the providers."""
        return user.client.get("/readyz").json()["checks"]["hosted"]

    def test_the_worker_is_small(self, program):
        """The worker has no torch in its memory, and is still small after it has drawn."""
        worker = program.child("server.worker")
        assert not any("libtorch" in mapped.path for mapped in worker.memory_maps())
        assert worker.memory_info().rss / 2**20 < MAX_WORKER_MIB

    @pytest.mark.parametrize(
        ("key", "words"),
        [
            (KEY, "ok      hosted: Hugging Face knows HUGGINGFACE_API_KEY"),
            ("hf_other", "missing hosted: Hugging Face refuses HUGGINGFACE_API_KEY (HTTP 401)"),
            ("", "missing hosted: HUGGINGFACE_API_KEY is not set: create a token"),
        ],
        ids=["right", "wrong", "none"],
    )
    def test_doctor_explains_the_key(self, program, box, key, words):
        """The doctor reports whether there is a key, and whether Hugging Face accepts it."""
        changes = {"HUGGINGFACE_API_KEY": key, "HF_ENDPOINT": box.url}
        result = program.run("doctor", **changes)
        assert words in result.stdout
        assert result.returncode == (0 if key == KEY else 1)
        assert "hf_other" not in result.stdout + result.stderr

    def test_no_secret_is_logged(self, program, box):
        """The log contains no key, no prompt and no address of an image, since the address alone opens it."""
        assert f"{box.url}/files/" not in program.tail()
        assert KEY not in program.tail()
        assert "long red hair" not in program.tail()


class TestWithoutLora:
    def test_the_base_image_has_the_base_price(self, start_hosted):
        """If no provider can apply the LoRA, the operator may allow the base image at the base price."""
        lenient = start_hosted(HF_PROVIDERS="hf-inference", HOSTED_WITHOUT_LORA="base-price")
        user = lenient.new_user("basic")
        accepted = user.generate()
        ended = user.ended(accepted["generation"]["id"])
        assert (accepted["creditUsed"], ended["status"]) == (12, "completed")
        assert (ended["madeWith"]["loraModel"], ended["madeWith"]["provider"]) == (None, "hf-inference")
        assert user.balance() == 100 - 8
        with lenient.reading() as tx:
            completion = Events(tx).of(ended["id"])[-1].data
            assert completion["credits"] == 8
            assert "drawn without it" in completion["warnings"][0]
            assert Ledger(tx).sum_of_postings() == 0
            assert Ledger(tx).drifts() == []
        lenient.stop()


class TestBudget:
    def test_a_spent_budget_refuses_with_the_time_to_wait(self, start_hosted):
        """The image that reaches the day's budget is delivered; the next is refused with the time to wait."""
        program = start_hosted(HOSTED_BUDGET_USD_PER_DAY="0.02")
        user = program.new_user("free")
        assert user.ended(user.generate()["generation"]["id"])["status"] == "completed"
        refused = user.client.post(
            f"/api/avatar-creator/projects/{user.project_id}/avatars/generate",
            json={"name": "Ada", "prompt": "portrait of a woman"},
        )
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "SERVICE_UNAVAILABLE"
        assert 0 < int(refused.headers["Retry-After"]) <= 24 * 3600 + 1
        assert user.balance() == 100 - 8
        ready = user.client.get("/readyz").json()
        assert ready["status"] == "degraded"
        assert "HOSTED_BUDGET_USD_PER_DAY is reached" in ready["checks"]["hosted"]
        program.stop()
