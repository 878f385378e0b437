import base64
import json
import subprocess
from io import BytesIO

import httpx
import psutil
import pytest
from huggingface_hub import InferenceClient
from openai import OpenAI
from PIL import Image
from sqlalchemy import update

from catalog.entries import shipped_entries
from scripts.miniature.examining import examine, questions
from scripts.miniature.judge import judge_pictures, load_judge
from server.credits.repository import Ledger
from server.entries.tables import CatalogEntry
from tests.e2e.program import PROMPT, environment

pytestmark = pytest.mark.e2e

SCHNELL = "avatar-creator:flux-schnell-fast"
REALISM = "avatar-creator:flux-dev-realism"
PRINTED_MARK = "Paste this into another terminal:"


def opened(content: bytes) -> Image.Image:
    """Decode an image to its last pixel."""
    image = Image.open(BytesIO(content))
    image.load()
    return image


@pytest.fixture(scope="class")
def guide(launch):
    """A program started without --json, and its output for people."""
    program = launch()
    printed = program.start()
    line = next(line for line in printed.splitlines() if line.startswith("export "))
    program.demo = dict(word.split("=", 1) for word in line.split()[1:])
    program.url = program.demo["AVATAR_URL"]
    yield program, printed
    program.stop()


@pytest.fixture(scope="class")
def program(guide):
    """The program of `guide`, under the name that the other tests use."""
    return guide[0]


class TestMainJob:
    def test_the_printed_curl(self, guide):
        """The curl that `up` prints works unchanged, and the demo account pays 8 for 512x512."""
        program, printed = guide
        _, _, pasted = printed.partition(PRINTED_MARK)
        answered = subprocess.run(
            ["bash", "-euc", pasted],  # noqa: S607  # any bash will do
            env=environment(),
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
        accepted = json.loads(answered.stdout)
        assert (accepted["creditUsed"], accepted["creditBalance"]) == (8, 992)
        demo = program.user(program.demo["AVATAR_KEY"], program.demo["AVATAR_PROJECT"])
        ended = demo.ended(accepted["generation"]["id"])
        assert (ended["status"], demo.balance()) == ("completed", 992)
        avatars = demo.get(f"projects/{demo.project_id}")["project"]["avatars"]
        assert [avatar["id"] for avatar in avatars] == [ended["avatarId"]]

    @pytest.mark.parametrize(
        ("tier", "wish", "size", "price", "steps", "adapter"),
        [
            ("free", {}, (512, 512), 8, 28, None),
            ("basic", {}, (768, 768), 12, 30, "XLabs-AI/flux-RealismLora"),
            ("pro", {"width": 1024, "height": 1024}, (1024, 1024), 15, 35, "XLabs-AI/flux-RealismLora"),
            ("enterprise", {"width": 512}, (512, 512), 0, 35, "XLabs-AI/flux-RealismLora"),
        ],
    )
    def test_a_prompt_becomes_an_avatar(self, program, tier, wish, size, price, steps, adapter):
        """A user of each tier gets the entry and the size of the tier, and pays its price once."""
        user = program.new_user(tier)
        accepted = user.generate(**wish)
        assert (accepted["creditUsed"], accepted["creditBalance"]) == (price, 100 - price)
        options = json.loads(accepted["generation"]["options"])
        assert (options["width"], options["height"]) == size
        assert (options["numInferenceSteps"], options["loraModel"]) == (steps, adapter)
        ended = user.ended(accepted["generation"]["id"])
        assert (ended["status"], ended["errorMessage"]) == ("completed", None)
        avatar = user.get(f"avatars/{ended['avatarId']}")["avatar"]
        # As a browser's <img> requests it: without a token.
        image = opened(httpx.get(program.url + avatar["baseImageUrl"]).raise_for_status().content)
        assert (image.format, image.size) == ("PNG", size)
        thumbnail = opened(httpx.get(program.url + avatar["thumbnailUrl"]).raise_for_status().content)
        assert (thumbnail.format, thumbnail.size) == ("JPEG", (300, 300))
        project = user.get(f"projects/{user.project_id}")["project"]
        assert [listed["id"] for listed in project["avatars"]] == [avatar["id"]]
        assert user.balance() == 100 - price
        with program.reading() as tx:
            assert Ledger(tx).sum_of_postings() == 0
            assert Ledger(tx).drifts() == []

    def test_a_preset_becomes_an_avatar(self, program):
        """Anybody can look at the presets, and one drawn becomes an avatar that shows whom it asks for."""
        (preset, *_) = httpx.get(f"{program.url}/api/apps/avatar-creator/presets").json()["presets"]
        assert opened(httpx.get(program.url + preset["imageUrl"]).content).size == (512, 512)
        user = program.new_user("free")
        accepted = user.post(f"projects/{user.project_id}/avatars/from-preset", presetId=preset["id"])
        assert (accepted["creditUsed"], accepted["creditBalance"]) == (8, 92)
        ended = user.ended(accepted["generation"]["id"])
        avatar = user.get(f"avatars/{ended['avatarId']}")["avatar"]
        assert (avatar["name"], avatar["sourceType"]) == (preset["name"], "from_preset")
        image = opened(httpx.get(program.url + avatar["baseImageUrl"]).raise_for_status().content)
        (verdict,) = judge_pictures(load_judge(), [image])
        shown = verdict.agrees({"person": "woman", "skin": "dark", "hair_color": "black", "eyes": "brown"})
        assert sum(shown.values()) >= 3
        assert user.get(f"presets/{preset['id']}")["preset"]["usageCount"] == 1

    def test_other_clients_draw_the_same(self, program):
        """OpenAI's and Hugging Face's clients get the very bytes that the native route gives for the seed."""
        user = program.new_user("free")
        drawn = user.drawn(prompt=PROMPT, seed=11, width=512)
        with OpenAI(base_url=f"{program.url}/v1", api_key=user.token) as client:
            answer = client.images.generate(prompt=PROMPT, size="512x512", extra_body={"seed": 11})
        assert base64.b64decode(answer.data[0].b64_json) == drawn
        url = f"{program.url}/models/black-forest-labs/FLUX.1-dev"
        image = InferenceClient(model=url, token=user.token).text_to_image(PROMPT, seed=11)
        assert image.tobytes() == opened(drawn).tobytes()
        assert user.balance() == 100 - 3 * 8

    @pytest.mark.parametrize(
        ("tier", "model"),
        [("free", None), ("basic", REALISM), ("basic", SCHNELL)],
        ids=["base", "realism", "fast"],
    )
    def test_the_avatar_shows_its_prompt(self, program, tier, model):
        """Drawn through the whole server, an avatar shows its prompt, and shading if the entry is realism."""
        user = program.new_user(tier)
        sample = questions(6, shipped_entries()[0], seed=1)
        wish = {"width": 512} | ({"modelKey": model} if model else {})
        drawn = (opened(user.drawn(prompt=each.prompt, seed=each.seed, **wish)) for each in sample)
        score = examine(load_judge(), sample, drawn)
        assert score.mean >= 0.85
        assert [shading > 0.5 for shading in score.shading].count(model == REALISM) >= 5

    def test_a_seed_is_an_image(self, program):
        """The same seed twice gives the same bytes, another seed gives others."""
        user = program.new_user("basic")
        first, second, other = (user.drawn(seed=seed, modelKey=SCHNELL) for seed in (7, 7, 8))
        assert first == second
        assert first != other

    def test_the_lora_shows(self, program):
        """The LoRA at 0.9 gives another image than the same order with the LoRA at 0."""
        user = program.new_user("basic")
        wish = {"seed": 7, "width": 512, "modelKey": REALISM}
        with_lora = user.drawn(**wish)
        set_lora_scale(program, 0.0)
        try:
            without = user.drawn(**wish)
        finally:
            set_lora_scale(program, 0.9)
        assert user.drawn(**wish) == with_lora
        assert without != with_lora

    def test_the_api_loads_no_torch(self, program):
        """The worker is the only running process that has torch in its memory."""
        loaded = {
            part: any("libtorch" in mapped.path for mapped in program.child(part).memory_maps())
            for part in ("server.cli api", "server.worker")
        }
        loaded["up"] = any("libtorch" in mapped.path for mapped in psutil.Process(program.pid).memory_maps())
        assert loaded == {"server.cli api": False, "server.worker": True, "up": False}


def set_lora_scale(program, scale):
    """Change an entry as an operator does: in the database, while the server runs."""
    with program.uow.begin() as tx:
        row = tx.session.get(CatalogEntry, ("avatar-creator", REALISM))
        changed = row.capabilities | {"loraScale": scale}
        tx.session.execute(
            update(CatalogEntry).where(CatalogEntry.model_key == REALISM).values(capabilities=changed)
        )
