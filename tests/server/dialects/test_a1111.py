"""What Open WebUI sends, by OpenAI's API and by A1111's, draws here."""

import base64
import json
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from PIL import Image

from catalog.tiers import Tier
from inference.errors import OutOfMemory
from inference.scripted import Script
from server.accounts import service as accounts
from server.credits.repository import Ledger
from server.entries import service as entries
from tests.databases import ONE_DATABASE

SHAPES = json.loads((Path(__file__).parent / "open_webui.json").read_text("utf-8"))


@pytest.fixture
def account(make_account):
    """A user of the tier basic with 100 credits."""
    return make_account(Tier.BASIC)


@pytest.fixture
def send(live, account):
    """Send a request of Open WebUI's, with changes to its body; by a server and a token."""

    def sender(name, *, url=live.url, token=account.token, **changes):
        shape = SHAPES[name]
        by_password = "Basic " + base64.b64encode(f"avatars:{token}".encode()).decode()
        scheme = {"Bearer": f"Bearer {token}", "Basic": by_password}[shape["scheme"]]
        body = {"json": shape["json"] | changes} if "json" in shape else {}
        return httpx.request(
            shape["method"],
            url + shape["path"],
            headers={"authorization": scheme},
            timeout=30,
            trust_env=False,
            **body,
        )

    return sender


def images_in(name, answer):
    """Return the images where Open WebUI looks for them."""
    where, *field = SHAPES[name]["images"]
    return [
        Image.open(BytesIO(base64.b64decode(one[field[0]] if field else one))) for one in answer.json()[where]
    ]


@pytest.mark.usefixtures("books_that_balance")
class TestOpenWebUI:
    @pytest.mark.parametrize("name", ["openai", "automatic1111"])
    def test_images(self, send, drawing, generations, account, uow, name):
        """Two images are drawn and paid for, by either API."""
        drawing()
        images = images_in(name, send(name))
        assert [(image.format, image.size) for image in images] == [("PNG", (512, 512))] * 2
        spent = sum(one.credits for one in generations())
        with uow.read() as tx:
            assert Ledger(tx).balances(account.user_id) == (100 - spent, 0)

    def test_the_image_is_the_stored_one(self, send, drawing, live, account, generations):
        """Its bytes are those that the native route leads to."""
        drawing()
        [image] = send("automatic1111", batch_size=1, seed=7).json()["images"]
        [generation] = generations()
        native = httpx.get(
            f"{live.url}/api/avatar-creator/generations/{generation.id}",
            headers=account.headers,
            trust_env=False,
        ).json()["generation"]
        assert base64.b64decode(image) == httpx.get(live.url + native["imageUrl"], trust_env=False).content
        assert generation.order.seed == 7

    def test_a_model_is_chosen(self, send, drawing, generations):
        """The models are the user's entries; the one that is chosen is told, and draws."""
        assert send("options").json()["sd_model_checkpoint"] == "flux-dev-realism"
        names = [model["title"] for model in send("models").json()]
        assert names == ["flux-dev-base", "flux-schnell-fast", "flux-dev-realism"]
        assert send("choose").json() is None
        assert send("options").json()["sd_model_checkpoint"] == "flux-schnell-fast"
        drawing()
        info = json.loads(send("automatic1111", batch_size=1).json()["info"])
        assert (info["sd_model_name"], info["steps"]) == ("flux-schnell-fast", 4)
        assert generations()[0].entry_key == "avatar-creator:flux-schnell-fast"

    @ONE_DATABASE
    def test_the_choice_is_the_users(self, send, make_account):
        """Another user's choice is another one."""
        send("choose")
        other = make_account(Tier.BASIC)
        assert send("options", token=other.token).json()["sd_model_checkpoint"] == "flux-dev-realism"

    @ONE_DATABASE
    def test_a_choice_that_is_gone(self, send, uow, drawing):
        """If the chosen entry is no longer on offer, the one that is told draws."""
        send("choose")
        entries.change(uow, "flux-schnell-fast", enabled=False)
        assert send("options").json()["sd_model_checkpoint"] == "flux-dev-realism"
        drawing()
        info = json.loads(send("automatic1111", batch_size=1).json()["info"])
        assert info["sd_model_name"] == "flux-dev-realism"

    @ONE_DATABASE
    def test_a_model_for_one_request(self, send, drawing, generations):
        """A request may name the model itself."""
        drawing()
        send("automatic1111", batch_size=1, override_settings={"sd_model_checkpoint": "flux-dev-base"})
        assert generations()[0].entry_key == "avatar-creator:flux-dev-base"


class TestRefusals:
    @ONE_DATABASE
    @pytest.mark.parametrize(
        ("name", "changes", "status", "words"),
        [
            ("choose", {"sd_model_checkpoint": "sdxl"}, 404, "Available: flux-dev-base"),
            ("choose", {"sd_model_checkpoint": "flux-dev-hd-realism"}, 403, "needs the pro tier"),
            ("automatic1111", {"width": 100}, 400, "width must be"),
            ("automatic1111", {"batch_size": 4, "n_iter": 4}, 400, "at most 10 images"),
            ("automatic1111", {"seed": -2}, 400, "seed"),
            ("automatic1111", {"prompt": ""}, 400, "prompt"),
        ],
        ids=str,
    )
    def test_what_is_not_drawn(self, send, generations, name, changes, status, words):
        """What is not drawn is refused, in words where Open WebUI looks for them."""
        answer = send(name, **changes)
        assert answer.status_code == status
        assert words in answer.json()["error"]["message"]
        assert generations() == []

    def test_too_few_credits(self, send, make_account, generations):
        """Without credits for all images it is a 402, and none is drawn."""
        answer = send("automatic1111", token=make_account(Tier.BASIC, credits=20).token)
        assert (answer.status_code, generations()) == (402, [])

    @ONE_DATABASE
    def test_a_revoked_key(self, send, uow, account):
        """A revoked key is a 401, and so is a password that is none."""
        accounts.revoke_keys(uow, account.user_id)
        assert send("options").status_code == send("options", token="").status_code == 401

    @ONE_DATABASE
    @pytest.mark.parametrize("header", ["Basic", "Basic x", "Basic /w==", "Basic Og==", "Digest x"])
    def test_credentials_that_are_none(self, live, header):
        """What is no basic authentication is a 401."""
        answer = httpx.get(f"{live.url}/sdapi/v1/options", headers={"Authorization": header}, trust_env=False)
        assert answer.status_code == 401

    @ONE_DATABASE
    def test_a_rate_limit(self, serve, send, drawing):
        """Beyond the user's rate it is a 429."""
        live = serve(rate_limits="on", rate_limit_generate="1/minute")
        drawing()
        statuses = [send("automatic1111", url=live.url, batch_size=1).status_code for _ in range(2)]
        assert statuses == [200, 429]

    def test_what_fails_is_given_back(self, send, account, drawing, uow):
        """A drawing that fails is told with its cause, and costs nothing."""
        drawing(Script(fail_at=1, failure=OutOfMemory("test")))
        assert "memory" in send("automatic1111").json()["error"]["message"]
        with uow.read() as tx:
            assert Ledger(tx).balances(account.user_id) == (100, 0)

    @ONE_DATABASE
    def test_it_can_be_switched_off(self, serve, send):
        """With A1111_API=off nothing is there."""
        assert send("options", url=serve(a1111_api="off").url).status_code == 404
