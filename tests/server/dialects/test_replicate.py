"""Replicate's own client draws here."""

import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import httpx
import pytest
from PIL import Image
from replicate import Client
from replicate.exceptions import ModelError, ReplicateError

from catalog.tiers import Tier
from inference.errors import OutOfMemory
from inference.scripted import Script
from server.accounts import service as accounts
from server.credits.repository import Ledger
from server.generations.steps import record_step
from tests.databases import ONE_DATABASE

PROMPT = "portrait of a woman with long red hair"
DEV, SCHNELL = "black-forest-labs/flux-dev", "black-forest-labs/flux-schnell"


@pytest.fixture
def account(make_account):
    """A user of the tier basic with 100 credits."""
    return make_account(Tier.BASIC)


@pytest.fixture
def client_of():
    """Open Replicate's client for a server and a token; its connections are closed after the test."""
    opened = []

    def open_client(url, token):
        client = Client(api_token=token, base_url=url, transport=httpx.HTTPTransport(trust_env=False))
        client.poll_interval = 0.05
        opened.append(client)
        return client

    yield open_client
    for client in opened:
        client._client.close()  # the library leaves that to nobody


@pytest.fixture
def client(live, account, client_of):
    """Replicate's client of a user with 100 credits."""
    return client_of(live.url, account.token)


def ask(client, model=DEV, **wish):
    """Have a model draw."""
    return client.run(model, input={"prompt": PROMPT} | wish)


@pytest.mark.usefixtures("books_that_balance")
class TestRun:
    def test_the_image_is_the_stored_one(self, client, account, live, drawing, generations, uow):
        """`run` gives the stored bytes as a file, of the size and the seed, at the entry's price."""
        drawing()
        [output] = ask(client, width=512, height=768, seed=7)
        [generation] = generations()
        assert (generation.entry_key, generation.order.seed) == ("avatar-creator:flux-dev-base", 7)
        native = httpx.get(
            f"{live.url}/api/avatar-creator/generations/{generation.id}",
            headers=account.headers,
            trust_env=False,
        ).json()["generation"]
        assert output.read() == httpx.get(live.url + native["imageUrl"], trust_env=False).content
        assert Image.open(BytesIO(output.read())).size == (512, 768)
        with uow.read() as tx:
            assert Ledger(tx).balances(account.user_id) == (92, 0)

    def test_several_outputs(self, client, drawing, generations):
        """Three outputs are one prediction, and each is paid for."""
        drawing()
        outputs = ask(client, SCHNELL, num_outputs=3, seed=2**32 - 1)
        assert len({output.read() for output in outputs}) == 3
        assert [one.order.seed for one in generations()] == [2**32 - 1, 0, 1]

    @ONE_DATABASE
    @pytest.mark.parametrize(
        ("model", "entry"),
        [
            (SCHNELL, "flux-schnell-fast"),
            ("xlabs-ai/flux-dev-realism", "flux-dev-realism"),
            ("avatar-creator/flux-dev-base", "flux-dev-base"),
        ],
    )
    def test_what_a_model_means(self, client, drawing, generations, model, entry):
        """Replicate's names mean the cheapest entries that draw so, and an entry has a name of its own."""
        drawing()
        ask(client, model)
        assert generations()[0].entry_key == f"avatar-creator:{entry}"

    @ONE_DATABASE
    @pytest.mark.parametrize(("wished", "kind"), [("webp", "WEBP"), ("jpg", "JPEG"), ("png", "PNG")])
    def test_other_formats(self, client, drawing, wished, kind):
        """The output has the format that was asked for, when it is read again as well."""
        drawing()
        [output] = ask(client, output_format=wished)
        assert Image.open(BytesIO(output.read())).format == kind
        prediction = client.predictions.create(model=DEV, input={"prompt": PROMPT, "output_format": wished})
        prediction.wait()
        assert prediction.output[0].startswith(f"data:image/{kind.lower()}")

    @ONE_DATABASE
    @pytest.mark.parametrize(
        ("ratio", "size_px"), [("1:1", (512, 512)), ("16:9", (912, 512)), ("2:3", (512, 768))]
    )
    def test_a_ratio(self, client, drawing, generations, ratio, size_px):
        """A ratio is a size of the entry's area, of which no side is too small."""
        drawing()
        ask(client, aspect_ratio=ratio)
        order = generations()[0].order
        assert (order.width_px, order.height_px) == size_px

    def test_it_polls_what_takes_longer(self, client, drawing):
        """A prediction that has not ended when the wait is over is told as starting, and polled on."""
        drawing(Script(step_s=0.05))
        [output] = client.run(DEV, input={"prompt": PROMPT}, wait=1)
        assert Image.open(BytesIO(output.read())).format == "PNG"

    @ONE_DATABASE
    def test_of_a_version(self, client, drawing, generations):
        """A model's version draws, and its schema says what it takes."""
        drawing()
        version = client.models.get(DEV).latest_version
        assert "prompt" in version.openapi_schema["components"]["schemas"]["Input"]["properties"]
        ask(client, f"{DEV}:{version.id}")
        client.predictions.create(version="avatar-creator/flux-schnell-fast", input={"prompt": PROMPT})
        assert [one.entry_key.rpartition(":")[2] for one in generations()] == [
            "flux-dev-base",
            "flux-schnell-fast",
        ]


@pytest.mark.usefixtures("books_that_balance")
class TestPredictions:
    def test_from_its_creation_to_its_end(self, client, account, make_runner):
        """A prediction that is not waited for starts, and its reload has its output and its seconds."""
        prediction = client.predictions.create(model=DEV, input={"prompt": PROMPT, "seed": 7})
        assert (prediction.status, prediction.output) == ("starting", None)
        assert prediction.model == "avatar-creator/flux-dev-base"
        make_runner().run_next()
        prediction.reload()
        assert prediction.status == "succeeded"
        assert prediction.output[0].startswith("data:image/png;base64,")
        assert prediction.metrics["predict_time"] >= 0
        assert prediction.input["seed"] == 7

    def test_progress(self, client, claim, uow):
        """Its logs have the progress bar that the client reads."""
        prediction = client.predictions.create(model=DEV, input={"prompt": PROMPT})
        record_step(uow, claim(), "step", 7, 28)
        prediction.reload()
        assert prediction.status == "processing"
        assert (prediction.progress.current, prediction.progress.total) == (7, 28)

    def test_cancel(self, client, account, generations, uow):
        """A cancelled prediction gives its hold back; one that has ended stays as it is."""
        prediction = client.predictions.create(model=SCHNELL, input={"prompt": PROMPT, "num_outputs": 2})
        for _ in range(2):
            prediction.cancel()
            assert prediction.status == "canceled"
        assert {one.error_code for one in generations()} == {"CANCELLED"}
        with uow.read() as tx:
            assert Ledger(tx).balances(account.user_id) == (100, 0)

    @ONE_DATABASE
    def test_the_list(self, client, make_account, client_of, live):
        """A user's predictions are listed newest first, and nobody else's."""
        made = [client.predictions.create(model=DEV, input={"prompt": PROMPT}).id for _ in range(2)]
        assert [one.id for one in client.predictions.list()] == made[::-1]
        other = client_of(live.url, make_account().token)
        assert list(other.predictions.list()) == []
        for call in (other.predictions.get, other.predictions.cancel):
            with pytest.raises(ReplicateError) as caught:
                call(made[0])
            assert caught.value.status == 404

    @ONE_DATABASE
    def test_pages(self, client, live, account, submit_one, monkeypatch):
        """A list that is longer than a page names the next one."""
        monkeypatch.setattr("server.dialects.replicate.routes.PAGE", 2)
        made = [submit_one(account).id for _ in range(3)]
        page = client.predictions.list()
        following = client.predictions.list(page.next)
        assert [one.id for one in page] + [one.id for one in following] == made[::-1]
        assert following.next is None

    @ONE_DATABASE
    @pytest.mark.parametrize("id_", ["none", "a.a", ".".join("abcde"), "webp"])
    def test_an_id_of_nothing(self, client, id_):
        """An id that no request has is not found."""
        with pytest.raises(ReplicateError) as caught:
            client.predictions.get(id_)
        assert caught.value.status == 404

    @ONE_DATABASE
    def test_an_address_by_https(self, serve, account, drawing):
        """Behind TLS the output is the address of the image: the client makes a file of that as well."""
        live = serve(trusted_proxies=("127.0.0.1",))
        drawing()
        answer = httpx.post(
            f"{live.url}/v1/models/{DEV}/predictions",
            json={"input": {"prompt": PROMPT}},
            headers={**account.headers, "X-Forwarded-Proto": "https", "Prefer": "wait"},
            timeout=30,
            trust_env=False,
        )
        [address] = answer.json()["output"]
        assert address.startswith("https://127.0.0.1:")


class TestRefusals:
    @ONE_DATABASE
    @pytest.mark.parametrize(
        ("model", "wish", "status", "words"),
        [
            ("nobody/nothing", {}, 404, "Available: flux-schnell-fast"),
            ("avatar-creator/flux-dev-hd-realism", {}, 403, "needs the pro tier"),
            (f"{DEV}:0123", {}, 422, "no model draws with it"),
            (DEV, {"num_inference_steps": 50}, 422, "flux-dev-base is drawn with 28"),
            (DEV, {"guidance": 7.0}, 422, "flux-dev-base is drawn with 3.5"),
            (DEV, {"negative_prompt": "blurry"}, 422, "FLUX.1 takes none"),
            (DEV, {"image": "data:,"}, 422, "from text alone"),
            (DEV, {"width": 100}, 400, "width must be"),
            (DEV, {"aspect_ratio": "21:9"}, 400, "at most 1024"),
            (DEV, {"aspect_ratio": "1:0"}, 422, "aspect_ratio"),
            (DEV, {"num_outputs": 5}, 422, "num_outputs"),
            (DEV, {"seed": -1}, 422, "seed"),
        ],
        ids=str,
    )
    def test_what_is_not_drawn(self, client, generations, model, wish, status, words):
        """What would not be drawn is refused in words, and never charged as if it were."""
        with pytest.raises(ReplicateError) as caught:
            ask(client, model, **wish)
        assert caught.value.status == status
        assert words in caught.value.detail
        assert generations() == []

    def test_too_few_credits(self, live, client_of, make_account, generations):
        """Without credits it is a 402; of several outputs all are refused together."""
        client = client_of(live.url, make_account(Tier.BASIC, credits=11).token)
        with pytest.raises(ReplicateError) as caught:
            ask(client, SCHNELL, num_outputs=2)
        assert caught.value.status == 402
        assert generations() == []

    @ONE_DATABASE
    def test_a_revoked_key(self, client, uow, account):
        """A revoked key is a 401 in words."""
        accounts.revoke_keys(uow, account.user_id)
        with pytest.raises(ReplicateError, match="The token is not valid") as caught:
            ask(client)
        assert caught.value.status == 401

    @ONE_DATABASE
    def test_a_rate_limit(self, serve, account, client_of):
        """Beyond the user's rate a new prediction is a 429; reading costs none of it."""
        live = serve(rate_limits="on", rate_limit_generate="1/minute")
        client = client_of(live.url, account.token)
        prediction = client.predictions.create(model=DEV, input={"prompt": PROMPT})
        for _ in range(5):
            prediction.reload()
        with pytest.raises(ReplicateError) as caught:
            client.predictions.create(model=DEV, input={"prompt": PROMPT})
        assert caught.value.status == 429

    def test_what_fails_is_given_back(self, client, account, drawing, uow):
        """A drawing that fails is a failed prediction with its cause, and costs nothing."""
        drawing(Script(fail_at=1, failure=OutOfMemory("test")))
        with pytest.raises(ModelError) as caught:
            ask(client)
        assert "memory" in caught.value.prediction.error
        with uow.read() as tx:
            assert Ledger(tx).balances(account.user_id) == (100, 0)

    def test_a_connection_that_breaks(self, live, cutter, account, client_of, drawing, generations, uow):
        """Cut after its acceptance, a prediction is drawn and charged once: the client repeats nothing."""
        client = client_of(cutter.url, account.token)
        with ThreadPoolExecutor(1) as thread:
            running = thread.submit(ask, client)
            until = time.monotonic() + 20
            while not generations():
                assert time.monotonic() < until
                time.sleep(0.02)
            cutter.cut()
            with pytest.raises(httpx.TransportError):
                running.result()
        drawing()
        while generations()[0].status != "completed":
            assert time.monotonic() < until
            time.sleep(0.02)
        assert len(generations()) == 1
        with uow.read() as tx:
            assert Ledger(tx).balances(account.user_id) == (92, 0)

    @ONE_DATABASE
    def test_it_can_be_switched_off(self, serve, account, client_of):
        """With REPLICATE_API=off nothing is there."""
        client = client_of(serve(replicate_api="off").url, account.token)
        with pytest.raises(ReplicateError) as caught:
            ask(client)
        assert caught.value.status == 404
