"""fal's own client draws here."""

import base64
import subprocess
import sys
from io import BytesIO

import fal_client
import httpx
import pytest
from fal_client import client as library
from PIL import Image

from catalog.tiers import Tier
from inference.errors import OutOfMemory
from inference.scripted import Script
from server.accounts import service as accounts
from server.credits.repository import Ledger
from server.generations.steps import record_step
from tests.databases import ONE_DATABASE
from tests.server.dialects.conftest import CERTIFICATE

PROMPT = "portrait of a woman with long red hair"
DEV, SCHNELL = "fal-ai/flux/dev", "fal-ai/flux/schnell"


@pytest.fixture
def account(make_account):
    """A user of the tier basic with 100 credits."""
    return make_account(Tier.BASIC)


@pytest.fixture
def client_at(monkeypatch):
    """Open fal's client for a server and a token. It reads its hosts at import, so they are set in it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    opened = []

    def open_client(cutter, token):
        monkeypatch.setattr(library, "RUN_URL_FORMAT", f"https://{cutter.host}/fal/run/")
        monkeypatch.setattr(library, "QUEUE_URL_FORMAT", f"https://{cutter.host}/fal/queue/")
        opened.append(fal_client.SyncClient(key=token))
        return opened[-1]

    yield open_client
    for client in opened:
        client._client.close()  # the library leaves that to nobody


@pytest.fixture
def client_of(client_at, tls_cutter):
    """Open fal's client for a token."""
    return lambda token: client_at(tls_cutter, token)


@pytest.fixture
def client(client_of, account):
    """Fal's client of a user with 100 credits."""
    return client_of(account.token)


def wish(**more):
    """Return arguments."""
    return {"prompt": PROMPT} | more


def bytes_of(image):
    """Return the bytes of an image of a result."""
    if image["url"].startswith("data:"):
        return base64.b64decode(image["url"].partition(",")[2])
    return httpx.get(image["url"]).content


@pytest.mark.usefixtures("books_that_balance")
class TestDrawing:
    @pytest.mark.parametrize("way", ["run", "subscribe"])
    def test_the_image_is_the_stored_one(self, client, account, live, drawing, generations, uow, way):
        """Run and subscribe give the stored bytes, of the size and the seed, at the entry's price."""
        drawing()
        result = getattr(client, way)(
            DEV, wish(image_size={"width": 512, "height": 768}, seed=7, output_format="png")
        )
        [image], [generation] = result["images"], generations()
        assert (image["width"], image["height"], result["seed"]) == (512, 768, 7)
        assert (generation.entry_key, generation.order.seed) == ("avatar-creator:flux-dev-base", 7)
        native = httpx.get(
            f"{live.url}/api/avatar-creator/generations/{generation.id}",
            headers=account.headers,
            trust_env=False,
        ).json()["generation"]
        assert bytes_of(image) == httpx.get(live.url + native["imageUrl"], trust_env=False).content
        with uow.read() as tx:
            assert Ledger(tx).balances(account.user_id) == (92, 0)

    def test_several_images(self, client, drawing, generations):
        """Three images are one request, and each is paid for."""
        drawing()
        result = client.subscribe(SCHNELL, wish(num_images=3, seed=2**32 - 1, sync_mode=True))
        assert len({bytes_of(image) for image in result["images"]}) == 3
        assert [one.order.seed for one in generations()] == [2**32 - 1, 0, 1]

    @ONE_DATABASE
    @pytest.mark.parametrize(
        ("application", "entry"),
        [
            ("fal-ai/flux-1/schnell", "flux-schnell-fast"),
            ("fal-ai/flux-realism", "flux-dev-realism"),
            ("avatar-creator/flux-dev-base", "flux-dev-base"),
        ],
    )
    def test_what_an_application_means(self, client, drawing, generations, application, entry):
        """Fal's names mean the cheapest entries that draw so, and an entry has a name of its own."""
        drawing()
        client.subscribe(application, wish())
        assert generations()[0].entry_key == f"avatar-creator:{entry}"

    @ONE_DATABASE
    @pytest.mark.parametrize(("kind", "way"), [("jpeg", "run"), ("webp", "subscribe")])
    def test_other_formats(self, client, drawing, kind, way):
        """An image has the format that was asked for."""
        drawing()
        [image] = getattr(client, way)(DEV, wish(output_format=kind))["images"]
        assert image["content_type"] == f"image/{kind}"
        assert Image.open(BytesIO(bytes_of(image))).format == kind.upper()

    @ONE_DATABASE
    def test_a_named_size(self, client, drawing):
        """A size may be named as fal names it."""
        drawing()
        [image] = client.run(DEV, wish(image_size="portrait_4_3"))["images"]
        assert Image.open(BytesIO(bytes_of(image))).size == (768, 1024)

    def test_a_stream(self, client, drawing):
        """A stream ends with the image, in the shape of a result."""
        drawing()
        *_, last = client.stream(DEV, wish(seed=7))
        assert Image.open(BytesIO(bytes_of(last["images"][0]))).size == (512, 512)
        assert last["seed"] == 7

    @ONE_DATABASE
    def test_a_stream_that_fails(self, client, account, drawing, uow):
        """A stream whose image fails ends with the cause, and costs nothing."""
        drawing(Script(fail_at=1, failure=OutOfMemory("test")))
        *_, last = client.stream(DEV, wish())
        assert last["error_type"] == "out_of_memory"
        with uow.read() as tx:
            assert Ledger(tx).balances(account.user_id) == (100, 0)

    @ONE_DATABASE
    def test_by_the_hosts_in_the_environment(self, tls_cutter, account, drawing):
        """A program has nothing to change but the hosts and the key in its environment."""
        drawing()
        program = f"import fal_client\nprint(fal_client.subscribe({DEV!r}, {wish()!r})['images'][0]['url'])"
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={
                "FAL_KEY": account.token,
                "FAL_RUN_HOST": f"{tls_cutter.host}/fal/run",
                "FAL_QUEUE_RUN_HOST": f"{tls_cutter.host}/fal/queue",
                "SSL_CERT_FILE": str(CERTIFICATE),
            },
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert done.stdout.startswith(f"https://{tls_cutter.host}/uploads/")


@pytest.mark.usefixtures("books_that_balance")
class TestQueue:
    def test_from_its_submission_to_its_end(self, client, make_runner):
        """A request is queued at its place, drawn, and completed with the seconds that it took."""
        first, second = (client.submit(DEV, wish(seed=seed)) for seed in (1, 2))
        assert second.status() == fal_client.Queued(position=1)
        with pytest.raises(fal_client.FalClientHTTPError, match="still in progress"):
            library._raise_for_status(client._client.get(second.response_url))
        runner = make_runner()
        runner.run_next()
        runner.run_next()
        done = second.status(with_logs=True)
        assert isinstance(done, fal_client.Completed)
        assert done.metrics["inference_time"] >= 0
        assert client.result(DEV, first.request_id)["seed"] == 1

    def test_progress(self, client, claim, uow):
        """While it is drawn, the logs say how far it is."""
        handle = client.submit(DEV, wish())
        record_step(uow, claim(), "step", 7, 28)
        assert handle.status(with_logs=True).logs[0]["message"] == "step 7 of 28"
        assert handle.status().logs == []

    def test_cancel(self, client, account, generations, uow):
        """A cancelled request gives its hold back; one that has ended is told to be over."""
        handle = client.submit(SCHNELL, wish(num_images=2))
        handle.cancel()
        assert {one.error_code for one in generations()} == {"CANCELLED"}
        with uow.read() as tx:
            assert Ledger(tx).balances(account.user_id) == (100, 0)
        with pytest.raises(fal_client.FalClientHTTPError, match="ALREADY_COMPLETED"):
            handle.cancel()
        assert handle.status().error_type == "CANCELLED"

    @ONE_DATABASE
    def test_anothers_request(self, client, client_of, make_account):
        """Another user's request is none."""
        id_ = client.submit(DEV, wish()).request_id
        other = client_of(make_account().token)
        for call in (other.status, other.result, other.cancel):
            with pytest.raises(fal_client.FalClientHTTPError) as caught:
                call(DEV, id_)
            assert caught.value.status_code == 404


@pytest.mark.usefixtures("books_that_balance")
class TestRepetitions:
    @pytest.mark.parametrize("times", [1, 3])
    def test_answers_that_are_lost(self, client, account, tls_cutter, drawing, generations, uow, times):
        """However often the answer to a submission is lost, it is drawn and charged once."""
        tls_cutter.swallowing = times
        drawing()
        assert client.subscribe(DEV, wish())["images"]
        assert len(generations()) == 1
        with uow.read() as tx:
            assert Ledger(tx).balances(account.user_id) == (92, 0)

    def test_equal_requests_that_are_meant(self, client, client_of, account, generations):
        """Who submits the same three times gets three images, on one connection and on others."""
        handles = [client.submit(DEV, wish()) for _ in range(3)]
        handles += [client_of(account.token).submit(DEV, wish()) for _ in range(2)]
        assert len({handle.request_id for handle in handles}) == len(generations()) == 5

    def test_a_program_that_has_its_answer(self, client_of, account, generations):
        """What was asked for again was read: a program that is run twice gets two images."""
        for _ in range(2):
            client = client_of(account.token)
            client.submit(DEV, wish()).status()
            client._client.close()
        assert len(generations()) == 2

    def test_a_server_that_died(self, serve, account, generations):
        """An answer that nobody is known to have read when its process ended is given by the next one."""
        ids = []
        for _ in range(2):
            live = serve()
            answer = httpx.post(
                f"{live.url}/fal/queue/{DEV}",
                json=wish(),
                headers={"Authorization": f"Key {account.token}"},
                trust_env=False,
            )
            ids.append(answer.json()["request_id"])
            live.stop()
        assert ids == [generations()[0].id] * 2

    @ONE_DATABASE
    def test_behind_a_proxy(self, live, account, generations):
        """A proxy's connection says nothing of the client's: what was sent on it is taken for read."""
        headers = {"Authorization": f"Key {account.token}", "X-Forwarded-For": "192.0.2.1"}
        for _ in range(2):
            httpx.post(f"{live.url}/fal/queue/{DEV}", json=wish(), headers=headers, trust_env=False)
        assert len(generations()) == 2

    @ONE_DATABASE
    def test_a_rate_limit(self, serve, account, client_at, tls_cutter_of):
        """A repetition and a poll cost nothing of a rate; a request beyond it is a 429."""
        cutter = tls_cutter_of(serve(rate_limits="on", rate_limit_generate="1/minute"))
        client = client_at(cutter, account.token)
        cutter.swallowing = 3
        handle = client.submit(DEV, wish())
        for _ in range(5):
            handle.status()
        answer = client._client.post(f"https://{cutter.host}/fal/queue/{DEV}", json=wish())
        assert answer.status_code == 429
        assert 1 <= int(answer.headers["retry-after"]) <= 61


class TestRefusals:
    @ONE_DATABASE
    @pytest.mark.parametrize(
        ("application", "more", "status", "words"),
        [
            ("nobody/nothing", {}, 404, "Available: flux-schnell-fast"),
            ("avatar-creator/flux-dev-hd-realism", {}, 403, "needs the pro tier"),
            (DEV, {"num_inference_steps": 50}, 422, "flux-dev-base is drawn with 28"),
            (DEV, {"guidance_scale": 7.0}, 422, "flux-dev-base is drawn with 3.5"),
            (DEV, {"negative_prompt": "blurry"}, 422, "FLUX.1 takes none"),
            (DEV, {"image_url": "data:,"}, 422, "from text alone"),
            (DEV, {"image_size": {"width": 100, "height": 512}}, 422, "width must be"),
            (DEV, {"image_size": "huge"}, 422, "image_size"),
            (DEV, {"num_images": 5}, 422, "num_images"),
            (DEV, {"seed": -1}, 422, "seed"),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("way", ["run", "submit"])
    def test_what_is_not_drawn(self, client, generations, way, application, more, status, words):
        """What would not be drawn is refused in words, and never charged as if it were."""
        with pytest.raises(fal_client.FalClientHTTPError) as caught:
            getattr(client, way)(application, wish(**more))
        assert caught.value.status_code == status
        assert words in str(caught.value)
        assert generations() == []

    def test_too_few_credits(self, client_of, make_account, generations):
        """Without credits it is a 402; of several images all are refused together."""
        client = client_of(make_account(Tier.BASIC, credits=11).token)
        with pytest.raises(fal_client.FalClientHTTPError) as caught:
            client.submit(SCHNELL, wish(num_images=2))
        assert caught.value.status_code == 402
        assert generations() == []

    @ONE_DATABASE
    def test_a_revoked_key(self, client, uow, account):
        """A revoked key is a 401 in words."""
        accounts.revoke_keys(uow, account.user_id)
        with pytest.raises(fal_client.FalClientHTTPError, match="The token is not valid") as caught:
            client.submit(DEV, wish())
        assert caught.value.status_code == 401

    def test_what_fails_is_given_back(self, client, account, drawing, uow):
        """A drawing that fails is told with its cause, and costs nothing."""
        drawing(Script(fail_at=1, failure=OutOfMemory("test")))
        with pytest.raises(fal_client.FalClientHTTPError) as caught:
            client.subscribe(DEV, wish())
        assert caught.value.error_type == "out_of_memory"
        with uow.read() as tx:
            assert Ledger(tx).balances(account.user_id) == (100, 0)

    @ONE_DATABASE
    def test_it_can_be_switched_off(self, serve, account):
        """With FAL_API=off nothing is there."""
        url = f"{serve(fal_api='off').url}/fal/queue/{DEV}"
        answer = httpx.post(
            url, json=wish(), headers={"Authorization": f"Key {account.token}"}, trust_env=False
        )
        assert answer.status_code == 404

    @ONE_DATABASE
    def test_its_scheme_is_taken_nowhere_else(self, live, account):
        """The scheme `Key` is that of fal's routes alone."""
        answer = httpx.get(
            f"{live.url}/api/avatar-creator/projects",
            headers={"Authorization": f"Key {account.token}"},
            trust_env=False,
        )
        assert answer.status_code == 401
