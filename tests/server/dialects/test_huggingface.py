"""Hugging Face's own client draws here."""

from io import BytesIO

import httpx
import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from PIL import Image

from catalog.tiers import Tier
from inference.errors import OutOfMemory
from inference.scripted import Script
from server.accounts import service as accounts
from server.credits.repository import Ledger
from tests.databases import ONE_DATABASE

PROMPT = "portrait of a woman with long red hair"
BASE = "black-forest-labs/FLUX.1-dev"


@pytest.fixture
def account(make_account):
    """A user of the tier basic with 100 credits."""
    return make_account(Tier.BASIC)


@pytest.fixture
def client(live, account):
    """Return Hugging Face's client for a model of this server."""

    def of(model=BASE, token=account.token):
        return InferenceClient(model=f"{live.url}/models/{model}", token=token)

    return of


@pytest.mark.usefixtures("books_that_balance")
class TestTextToImage:
    def test_an_image(self, client, account, drawing, generations, uow):
        """A prompt becomes an image of the size and the seed, at the entry's price."""
        drawing()
        image = client().text_to_image(PROMPT, width=512, height=768, seed=7)
        assert image.size == (512, 768)
        [generation] = generations()
        assert (generation.entry_key, generation.order.seed) == ("avatar-creator:flux-dev-base", 7)
        with uow.read() as tx:
            assert Ledger(tx).balances(account.user_id) == (92, 0)

    @ONE_DATABASE
    @pytest.mark.parametrize(
        ("model", "entry"),
        [
            ("black-forest-labs/FLUX.1-schnell", "flux-schnell-fast"),
            ("XLabs-AI/flux-RealismLora", "flux-dev-realism"),
            ("flux-dev-realism", "flux-dev-realism"),
            ("avatar-creator:flux-dev-base", "flux-dev-base"),
        ],
    )
    def test_what_a_model_means(self, client, drawing, generations, model, entry):
        """A model means its cheapest entry, an adapter the cheapest with it, a key its entry."""
        drawing()
        client(model).text_to_image(PROMPT)
        assert generations()[0].entry_key == f"avatar-creator:{entry}"

    @ONE_DATABASE
    @pytest.mark.parametrize(
        ("accept", "kind"),
        [
            ("image/png", "PNG"),
            ("image/jpeg", "JPEG"),
            ("image/webp", "WEBP"),
            ("*/*", "PNG"),
        ],
    )
    def test_the_type_that_is_accepted(self, live, account, drawing, accept, kind):
        """The image comes in the type that the client accepts."""
        drawing()
        answer = httpx.post(
            f"{live.url}/models/{BASE}",
            json={"inputs": PROMPT},
            headers={**account.headers, "Accept": accept},
            timeout=30,
            trust_env=False,
        )
        assert answer.headers["content-type"] == f"image/{kind.lower()}"
        assert Image.open(BytesIO(answer.content)).format == kind

    @ONE_DATABASE
    def test_what_the_entry_fixes_may_be_named(self, client, drawing):
        """Steps and guidance as the entry has them are taken."""
        drawing()
        client().text_to_image(PROMPT, num_inference_steps=28, guidance_scale=3.5)


class TestRefusals:
    @ONE_DATABASE
    @pytest.mark.parametrize(
        ("model", "wish", "status", "words"),
        [
            ("nobody/nothing", {}, 404, "Available: flux-schnell-fast"),
            ("flux-dev-hd-realism", {}, 403, "needs the pro tier"),
            (BASE, {"num_inference_steps": 50}, 400, "flux-dev-base is drawn with 28"),
            (BASE, {"guidance_scale": 7.0}, 400, "flux-dev-base is drawn with 3.5"),
            (BASE, {"negative_prompt": "blurry"}, 400, "FLUX.1 takes none"),
            (BASE, {"width": 100}, 400, "width must be"),
            (BASE, {"seed": -1}, 400, "seed"),
        ],
        ids=str,
    )
    def test_what_is_not_drawn(self, client, generations, model, wish, status, words):
        """What the entry does not draw is refused in words, and never charged as if it were drawn."""
        with pytest.raises(HfHubHTTPError) as caught:
            client(model).text_to_image(PROMPT, **wish)
        assert caught.value.response.status_code == status
        assert words in str(caught.value)
        assert generations() == []

    def test_too_few_credits(self, client, make_account, generations):
        """Without credits it is a 402, and nothing is drawn."""
        with pytest.raises(HfHubHTTPError, match="Required: 8, Available: 7") as caught:
            client(token=make_account(credits=7).token).text_to_image(PROMPT)
        assert caught.value.response.status_code == 402
        assert generations() == []

    @ONE_DATABASE
    def test_a_revoked_key(self, client, uow, account):
        """A revoked key is a 401 in words."""
        accounts.revoke_keys(uow, account.user_id)
        with pytest.raises(HfHubHTTPError, match="The token is not valid") as caught:
            client().text_to_image(PROMPT)
        assert caught.value.response.status_code == 401

    @ONE_DATABASE
    def test_a_rate_limit(self, serve, account, drawing):
        """Beyond the user's rate it is a 429 with the time to wait."""
        live = serve(rate_limits="on", rate_limit_generate="1/minute")
        drawing()
        client = InferenceClient(model=f"{live.url}/models/{BASE}", token=account.token)
        client.text_to_image(PROMPT)
        with pytest.raises(HfHubHTTPError, match="Too many requests") as caught:
            client.text_to_image(PROMPT)
        assert caught.value.response.status_code == 429
        assert 1 <= int(caught.value.response.headers["retry-after"]) <= 61

    @ONE_DATABASE
    @pytest.mark.parametrize("accept", ["application/json", ";;;", "image/", ",", "a" * 3000])
    def test_no_type_that_is_drawn(self, live, account, generations, accept):
        """Whoever accepts no image, or says it in no known way, is told which types there are."""
        answer = httpx.post(
            f"{live.url}/models/{BASE}",
            json={"inputs": PROMPT},
            headers={**account.headers, "Accept": accept},
            trust_env=False,
        )
        assert answer.status_code == 400
        assert "image/png" in answer.json()["error"]
        assert generations() == []

    def test_what_fails_is_given_back(self, client, account, drawing, uow):
        """A drawing that fails is told with its cause, and costs nothing."""
        drawing(Script(fail_at=1, failure=OutOfMemory("test")))
        with pytest.raises(HfHubHTTPError, match="OUT_OF_MEMORY"):
            client().text_to_image(PROMPT)
        with uow.read() as tx:
            assert Ledger(tx).balances(account.user_id) == (100, 0)

    @ONE_DATABASE
    def test_it_can_be_switched_off(self, serve, account):
        """With HUGGINGFACE_API=off nothing is there."""
        live = serve(huggingface_api="off")
        with pytest.raises(HfHubHTTPError) as caught:
            InferenceClient(model=f"{live.url}/models/{BASE}", token=account.token).text_to_image(PROMPT)
        assert caught.value.response.status_code == 404
