"""OpenAI's own client draws here."""

import base64
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import httpx
import openai
import pytest
from PIL import Image

from catalog.tiers import Tier
from inference.errors import OutOfMemory
from inference.scripted import Script
from server.accounts import service as accounts
from server.caller import Caller
from server.credits.repository import Ledger
from server.dialects import drawing as drawing_module
from server.generations import service
from tests.databases import ONE_DATABASE

PROMPT = "portrait of a woman with long red hair"
BASE, SCHNELL = "flux-dev-base", "flux-schnell-fast"


def client_of(url, token, **options):
    """Return OpenAI's client; it is to be closed."""
    return openai.OpenAI(base_url=f"{url}/v1", api_key=token, timeout=30, **options)


@pytest.fixture
def client(live, make_account):
    """OpenAI's client of a user with 100 credits."""
    with client_of(live.url, make_account(Tier.BASIC).token) as opened:
        yield opened


def wait_for(look):
    """Wait until something is so."""
    until = time.monotonic() + 20
    while not (found := look()):
        assert time.monotonic() < until
        time.sleep(0.02)
    return found


@pytest.mark.usefixtures("books_that_balance")
class TestGenerate:
    def test_the_image_is_the_stored_one(self, client, drawing):
        """Its bytes are those behind the address, and the usage names the credits."""
        drawing()
        answer = client.images.generate(prompt=PROMPT, model=BASE, size="512x512", extra_body={"seed": 7})
        [image] = answer.data
        stored = httpx.get(image.url, trust_env=False)
        assert base64.b64decode(image.b64_json) == stored.content
        assert stored.headers["content-type"] == "image/png"
        assert Image.open(BytesIO(stored.content)).size == (512, 512)
        assert (answer.size, answer.output_format, answer.usage.output_tokens) == ("512x512", "png", 8)

    @pytest.mark.parametrize(
        ("wished", "present"), [("url", (False, True)), ("b64_json", (True, False))], ids=str
    )
    def test_only_what_is_asked_for(self, client, drawing, wished, present):
        """With a response format the answer has the address alone, or the bytes alone."""
        drawing()
        [image] = client.images.generate(prompt=PROMPT, response_format=wished).data
        assert (image.b64_json is not None, image.url is not None) == present

    @ONE_DATABASE
    @pytest.mark.parametrize("kind", ["jpeg", "webp"])
    def test_other_formats(self, client, drawing, kind):
        """The image comes in the format and at the compression that were asked for."""
        drawing()
        small, large = (
            base64.b64decode(
                client.images.generate(
                    prompt=PROMPT, output_format=kind, output_compression=percent, extra_body={"seed": 7}
                )
                .data[0]
                .b64_json
            )
            for percent in (5, 95)
        )
        assert Image.open(BytesIO(small)).format == kind.upper()
        assert len(small) < len(large)

    def test_several_images(self, client, drawing, generations):
        """Three images are one request; their seeds follow each other, and each is paid for."""
        drawing()
        answer = client.images.generate(prompt=PROMPT, model=SCHNELL, n=3, extra_body={"seed": 2**32 - 1})
        assert len({image.b64_json for image in answer.data}) == 3
        assert answer.usage.output_tokens == 18
        assert [one.order.seed for one in generations()] == [2**32 - 1, 0, 1]

    def test_one_of_several_fails(self, client, drawing, uow, generations):
        """What failed is left out of the answer and given back; the others are paid for."""
        drawing(Script(fail_at=1, failure=OutOfMemory("test"), fail_seed=8))
        answer = client.images.generate(prompt=PROMPT, model=SCHNELL, n=2, extra_body={"seed": 7})
        assert (len(answer.data), answer.usage.output_tokens) == (1, 6)
        with uow.read() as tx:
            assert Ledger(tx).balances(generations()[0].user_id) == (94, 0)

    def test_a_stream(self, client, drawing):
        """With `stream` the image comes as an event that says that it is complete."""
        drawing()
        events = list(client.images.generate(prompt=PROMPT, stream=True))
        assert [event.type for event in events] == ["image_generation.completed"]
        assert Image.open(BytesIO(base64.b64decode(events[0].b64_json))).format == "PNG"
        assert events[0].usage.output_tokens == 12

    @pytest.mark.parametrize("kind", ["png", "jpeg"])
    def test_partial_images(self, client, drawing, kind):
        """A stream shows what the image becomes, in its size and format, before the image comes."""
        drawing(Script(step_s=0.1))
        events = list(
            client.images.generate(
                prompt=PROMPT, size="512x768", stream=True, partial_images=2, output_format=kind
            )
        )
        *partial, completed = events
        assert [event.type for event in partial] == 2 * ["image_generation.partial_image"]
        assert [event.partial_image_index for event in partial] == [0, 1]
        assert completed.type == "image_generation.completed"
        for event in events:
            image = Image.open(BytesIO(base64.b64decode(event.b64_json)))
            assert (image.size, image.format, event.size) == ((512, 768), kind.upper(), "512x768")

    def test_a_stream_that_fails(self, client, drawing, uow, generations):
        """If the drawing fails after the stream has begun, the client raises its error; it costs nothing."""
        drawing(Script(fail_at=1, failure=OutOfMemory("test")))
        with pytest.raises(openai.APIError) as caught:
            list(client.images.generate(prompt=PROMPT, stream=True))
        assert caught.value.code == "out_of_memory"
        with uow.read() as tx:
            assert Ledger(tx).balances(generations()[0].user_id) == (100, 0)

    def test_what_is_refused_is_no_stream(self, live, make_account):
        """What is refused before anything was accepted is an error as without a stream."""
        with (
            client_of(live.url, make_account(credits=1).token) as client,
            pytest.raises(openai.APIStatusError) as caught,
        ):
            client.images.generate(prompt=PROMPT, stream=True)
        assert (caught.value.status_code, caught.value.code) == (402, "insufficient_quota")

    @ONE_DATABASE
    def test_a_deleted_generation(self, client, live, uow, generations, monkeypatch):
        """If what is waited for is deleted, the wait ends with an error."""
        monkeypatch.setattr(drawing_module, "LOOK_S", 0.1)
        with ThreadPoolExecutor(1) as thread:
            answer = thread.submit(client.images.generate, prompt=PROMPT)
            [generation] = wait_for(generations)
            service.delete(uow, Caller(generation.user_id, Tier.BASIC), generation.id)
            with pytest.raises(openai.InternalServerError) as caught:
                answer.result()
        assert caught.value.code == "cancelled"

    @ONE_DATABASE
    def test_a_first_project_is_made(self, live, uow, drawing):
        """A user without a project draws into one that is made, and the next images are there too."""
        made = accounts.register(
            uow, email=None, tier=Tier.FREE, granted=100, reason="Test", key_label="test"
        )
        drawing()
        with client_of(live.url, made.key.token) as client:
            for _ in range(2):
                client.images.generate(prompt=PROMPT)
        headers = {"Authorization": f"Bearer {made.key.token}"}
        answer = httpx.get(f"{live.url}/api/avatar-creator/projects", headers=headers, trust_env=False)
        [project] = answer.json()["projects"]
        assert len(project["avatars"]) == 2


class TestRefusals:
    @ONE_DATABASE
    @pytest.mark.parametrize(
        ("wish", "error", "param"),
        [
            ({"model": "nothing"}, openai.NotFoundError, "model"),
            ({"model": "flux-dev-hd-realism"}, openai.PermissionDeniedError, "model"),
            ({"size": "500x500"}, openai.BadRequestError, "size"),
            ({"size": "4096x4096"}, openai.BadRequestError, "size"),
            ({"size": "large"}, openai.BadRequestError, "size"),
            ({"n": 0}, openai.BadRequestError, "n"),
            ({"n": 11}, openai.BadRequestError, "n"),
            ({"n": 2, "stream": True}, openai.BadRequestError, "n"),
            ({"prompt": "short"}, openai.BadRequestError, "prompt"),
            ({"quality": "best"}, openai.BadRequestError, "quality"),
            ({"output_format": "gif"}, openai.BadRequestError, "output_format"),
            ({"background": "transparent"}, openai.BadRequestError, "background"),
        ],
        ids=str,
    )
    def test_a_bad_wish(self, client, generations, wish, error, param):
        """What cannot be drawn is refused with OpenAI's error for it, which names the parameter."""
        with pytest.raises(error) as caught:
            client.images.generate(**{"prompt": PROMPT} | wish)
        assert caught.value.param == param
        assert caught.value.type == "invalid_request_error"
        assert generations() == []

    def test_too_few_credits(self, live, make_account, generations):
        """Without credits it is a 402 that the client does not repeat; nothing is drawn, not one of two."""
        with (
            client_of(live.url, make_account(credits=15).token) as client,
            pytest.raises(openai.APIStatusError) as caught,
        ):
            client.images.generate(prompt=PROMPT, n=2)
        assert (caught.value.status_code, caught.value.code) == (402, "insufficient_quota")
        assert "Required: 8, Available: 7" in caught.value.message
        assert generations() == []

    @ONE_DATABASE
    def test_a_revoked_key(self, live, uow, make_account):
        """A revoked key is OpenAI's error of authentication."""
        account = make_account()
        accounts.revoke_keys(uow, account.user_id)
        with (
            client_of(live.url, account.token) as client,
            pytest.raises(openai.AuthenticationError) as caught,
        ):
            client.models.list()
        assert caught.value.code == "invalid_api_key"

    @ONE_DATABASE
    def test_a_rate_limit(self, serve, make_account, drawing):
        """Beyond the user's rate it is OpenAI's error of rate limits, with the time to wait."""
        live = serve(rate_limits="on", rate_limit_generate="1/minute")
        drawing()
        with client_of(live.url, make_account().token, max_retries=0) as client:
            client.images.generate(prompt=PROMPT)
            with pytest.raises(openai.RateLimitError) as caught:
                client.images.generate(prompt=PROMPT)
        assert 1 <= int(caught.value.response.headers["retry-after"]) <= 61

    def test_what_fails_is_not_repeated(self, client, drawing, generations):
        """A drawing that fails is told once, with its cause, and costs nothing."""
        drawing(Script(fail_at=1, failure=OutOfMemory("test")))
        with pytest.raises(openai.InternalServerError) as caught:
            client.images.generate(prompt=PROMPT)
        assert (caught.value.status_code, caught.value.code) == (502, "out_of_memory")
        assert "given back" in caught.value.message
        assert len(generations()) == 1

    @ONE_DATABASE
    def test_it_can_be_switched_off(self, serve, make_account):
        """With OPENAI_API=off nothing is there."""
        live = serve(openai_api="off")
        with client_of(live.url, make_account().token) as client, pytest.raises(openai.NotFoundError):
            client.models.list()


@pytest.mark.usefixtures("books_that_balance")
class TestRepetitions:
    def test_a_cut_connection_costs_once(self, cutter, make_account, drawing, generations, uow):
        """If the connection is cut after acceptance, the client's own repetition gets what was accepted."""
        account = make_account()
        with (
            client_of(cutter.url, account.token) as client,
            ThreadPoolExecutor(1) as thread,
        ):
            answer = thread.submit(client.images.generate, prompt=PROMPT, extra_body={"seed": 7})
            [generation] = wait_for(generations)
            cutter.cut()
            time.sleep(0.2)
            drawing()
            assert len(answer.result().data) == 1
        assert [one.id for one in generations()] == [generation.id]
        with uow.read() as tx:
            assert Ledger(tx).balances(account.user_id) == (92, 0)

    def test_a_cut_stream_costs_once(self, cutter, make_account, drawing, generations):
        """A stream that is cut before its image is found again by whoever repeats it by hand."""
        headers = {"X-Stainless-Retry-Count": "1"}
        with client_of(cutter.url, make_account().token, max_retries=0) as client:
            stream = client.images.generate(prompt=PROMPT, stream=True)
            cutter.cut()
            with pytest.raises(openai.APIConnectionError):
                list(stream)
            drawing()
            [event] = client.images.generate(prompt=PROMPT, stream=True, extra_headers=headers)
        assert event.type == "image_generation.completed"
        assert len(generations()) == 1

    def test_an_equal_request_is_another_one(self, client, drawing, generations):
        """Whoever sends the same again, and not because an answer failed to come, gets another image."""
        drawing()
        for _ in range(2):
            client.images.generate(prompt=PROMPT)
        assert len(generations()) == 2

    def test_two_equal_requests_are_two(self, cutter, make_account, drawing, generations):
        """If the connections of two equal requests are cut, their repetitions get two images."""
        with (
            client_of(cutter.url, make_account().token) as client,
            ThreadPoolExecutor(2) as threads,
        ):
            answers = [threads.submit(client.images.generate, prompt=PROMPT) for _ in range(2)]
            wait_for(lambda: len(generations()) == 2)
            cutter.cut()
            time.sleep(0.2)
            drawing()
            assert len({answer.result().data[0].b64_json for answer in answers}) == 2
        assert len(generations()) == 2

    def test_a_client_that_goes(self, live, make_account, drawing, generations):
        """When a client goes, nobody waits for it any more, and its image is drawn all the same."""
        with (
            client_of(live.url, make_account().token, max_retries=0) as client,
            pytest.raises(openai.APITimeoutError),
        ):
            client.with_options(timeout=0.5).images.generate(prompt=PROMPT)
        wait_for(lambda: live.feed.open_streams == 0)
        drawing()
        wait_for(lambda: [one.status for one in generations()] == ["completed"])


@ONE_DATABASE
class TestModels:
    def test_what_is_within_reach(self, client):
        """The models are the entries within the caller's reach, under their short keys."""
        assert [model.id for model in client.models.list()] == [
            "flux-dev-base",
            "flux-schnell-fast",
            "flux-dev-realism",
        ]
        assert client.models.retrieve("avatar-creator:flux-dev-base").id == "flux-dev-base"
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("flux-dev-hd-realism")

    def test_names_that_mean_entries(self, serve, make_account, drawing):
        """An operator's name for an entry is a model, and draws with that entry."""
        live = serve(openai_models={"gpt-image-1": SCHNELL, "dall-e-3": "avatar-creator:flux-dev-hd-realism"})
        drawing()
        with client_of(live.url, make_account(Tier.BASIC).token) as client:
            assert "gpt-image-1" in [model.id for model in client.models.list()]
            assert "dall-e-3" not in [model.id for model in client.models.list()]
            assert client.images.generate(prompt=PROMPT, model="gpt-image-1").usage.output_tokens == 6
