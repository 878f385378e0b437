"""Both clients do the same, against a real server."""

import asyncio
import inspect
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from PIL import Image

from avatar_creator_client import (
    AccessDenied,
    AsyncClient,
    AvatarCreatorError,
    Client,
    Conflict,
    GenerationFailed,
    InputInvalid,
    InsufficientCredits,
    NotAuthenticated,
    NotFound,
    RateLimited,
    Unreachable,
    WaitedTooLong,
    Wish,
)
from catalog.tiers import Tier
from inference.errors import OutOfMemory
from inference.scripted import Script
from server.credits.repository import Ledger
from tests.databases import ONE_DATABASE

WISH = Wish("portrait of a woman with long red hair", seed=7)
ROOT = Path(__file__).parents[2]


class Blocking:
    """An asynchronous client by blocking methods, so that one test tries both."""

    def __init__(self, *arguments, **options):
        self._runner = asyncio.Runner()
        self._client = AsyncClient(*arguments, **options)

    def __getattr__(self, name):
        return lambda *arguments, **options: self._runner.run(
            getattr(self._client, name)(*arguments, **options)
        )

    def close(self):
        """Close it."""
        self._runner.run(self._client.aclose())
        self._runner.close()


@pytest.fixture(params=[Client, Blocking], ids=["Client", "AsyncClient"])
def client_of(request, live):
    """Open a client of an account's, at a server."""
    opened = []

    def open_client(account, url=live.url, **options):
        opened.append(request.param(url, account.token, **options))
        return opened[-1]

    yield open_client
    for client in opened:
        client.close()


@pytest.fixture
def account(make_account):
    """A user of the tier basic with 100 credits."""
    return make_account(Tier.BASIC)


@pytest.fixture
def client(client_of, account):
    """A client of a user with 100 credits."""
    return client_of(account)


@pytest.fixture
def quick(monkeypatch):
    """Let repetitions follow each other at once."""
    monkeypatch.setattr("avatar_creator_client.calls.PAUSE_S", 0.01)


def test_they_have_the_same_methods():
    """What one client can do, the other can, with the same parameters."""
    shapes = [
        {
            name: str(inspect.signature(method))
            for name, method in vars(kind).items()
            if not name.startswith("_") and name not in {"close", "aclose"}
        }
        for kind in (Client, AsyncClient)
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.usefixtures("books_that_balance")
class TestDrawing:
    def test_from_a_wish_to_a_file(self, client, drawing, tmp_path):
        """A wish is quoted, submitted, followed and saved."""
        project = client.first_project()
        quote = client.quote(project, WISH)
        assert (quote.model, quote.credits, quote.balance) == ("avatar-creator:flux-dev-realism", 12, 100)
        bound = Wish(WISH.prompt, seed=7, quote_id=quote.id)
        submitted = client.submit(project, bound)
        assert (submitted.status, submitted.seed) == ("pending", 7)
        told = []
        drawing(Script(step_s=0.04))
        drawn = client.wait(submitted, on_progress=told.append)
        assert {progress.phase for progress in told} >= {"queued", "starting", "step"}
        path = client.save(drawn, tmp_path / "avatar.png")
        with Image.open(BytesIO(path.read_bytes())) as image:
            assert (image.format, image.size) == ("PNG", (drawn.width_px, drawn.height_px))
        assert client.balance() == 88

    @ONE_DATABASE
    def test_traits_and_sizes(self, client, generations):
        """All that a wish has reaches the server."""
        wish = Wish(
            "portrait of a woman",
            name="Ada",
            width_px=512,
            height_px=768,
            model="flux-schnell-fast",
            traits={"hairColor": "red"},
        )
        client.submit(client.create_project("Team"), wish)
        [generation] = generations()
        assert (generation.avatar_name, generation.order.width_px) == ("Ada", 512)
        assert (generation.entry_key, generation.traits.hair_color) == (
            "avatar-creator:flux-schnell-fast",
            "red",
        )

    @ONE_DATABASE
    def test_projects(self, client):
        """The first project is created once, and projects are listed."""
        first = client.first_project()
        client.create_project("Team", "All of us")
        assert [one.name for one in client.projects()] == ["Team", first.name]
        assert client.first_project() == first

    def test_cancel(self, client):
        """A cancelled generation gives its price back; waiting for it tells so."""
        generation = client.submit(client.first_project(), WISH)
        assert client.cancel(generation).error_code == "CANCELLED"
        assert client.balance() == 100
        with pytest.raises(GenerationFailed) as caught:
            client.wait(generation)
        assert caught.value.reason == "CANCELLED"
        with pytest.raises(Conflict):
            client.cancel(generation)

    def test_what_fails(self, client, drawing):
        """A drawing that fails is an error with its cause; its price is given back."""
        generation = client.submit(client.first_project(), WISH)
        drawing(Script(fail_at=1, failure=OutOfMemory("test")))
        with pytest.raises(GenerationFailed, match="given back") as caught:
            client.wait(generation)
        assert caught.value.reason == "OUT_OF_MEMORY"
        with pytest.raises(NotFound):
            client.image(client.read(generation))

    @ONE_DATABASE
    def test_the_time_is_over(self, client):
        """Waiting ends with its time; the generation goes on."""
        generation = client.submit(client.first_project(), WISH)
        with pytest.raises(WaitedTooLong) as caught:
            client.wait(generation, timeout_s=0.5)
        assert (caught.value.generation_id, caught.value.timeout_s) == (generation.id, 0.5)
        assert client.read(generation).status == "pending"

    @ONE_DATABASE
    def test_without_a_stream(self, serve, client_of, account, drawing):
        """Where no stream is to be had, polling finds the end."""
        client = client_of(account, serve(events_streams=1).url)
        generation = client.submit(client.first_project(), WISH)
        with serve(events_streams=1).stream(account, "events") as _:
            drawing()
            assert client.wait(generation, timeout_s=20).has_ended


@pytest.mark.usefixtures("books_that_balance", "quick")
class TestRepetitions:
    def test_an_answer_that_is_lost(self, client_of, cutter, account, generations, uow):
        """A submission whose answers are lost is accepted and charged once."""
        client = client_of(account, cutter.url)
        project = client.first_project()
        cutter.swallowing = 2
        client.submit(project, WISH)
        assert len(generations()) == 1
        with uow.read() as tx:
            assert Ledger(tx).balances(account.user_id) == (88, 12)

    @ONE_DATABASE
    def test_a_stream_that_breaks(self, client_of, cutter, account, drawing):
        """A stream that is cut is resumed after the last event that came."""
        client = client_of(account, cutter.url)
        generation = client.submit(client.first_project(), WISH)
        told = []

        def tell(progress):
            told.append(progress)
            if len(told) in {1, 3}:
                cutter.cut()

        drawing(Script(step_s=0.08))
        assert client.wait(generation, timeout_s=30, on_progress=tell).has_ended
        steps = [one.step for one in told if one.step]
        assert steps == sorted({*steps})
        assert steps

    @ONE_DATABASE
    def test_retry_after(self, serve, client_of, account):
        """A refusal that names its time is obeyed; one that names a long time is told at once."""
        client = client_of(account, serve(rate_limits="on", rate_limit_generate="1/second").url)
        project = client.first_project()
        for _ in range(3):
            client.submit(project, WISH)
        slow = client_of(account, serve(rate_limits="on", rate_limit_generate="1/hour").url)
        slow.submit(project, WISH)
        with pytest.raises(RateLimited) as caught:
            slow.submit(project, WISH)
        assert caught.value.retry_after_s > 60

    @ONE_DATABASE
    def test_nobody_answers(self, client_of, account):
        """A server that is not there is told after all attempts."""
        with pytest.raises(Unreachable, match="does not answer"):
            client_of(account, "http://127.0.0.1:1").balance()


class TestErrors:
    @ONE_DATABASE
    @pytest.mark.parametrize(
        ("wish", "kind", "field"),
        [
            (Wish(""), InputInvalid, "prompt"),
            (Wish("portrait of a man", width_px=100), InputInvalid, "width"),
            (Wish("portrait of a man", model="none"), InputInvalid, "modelKey"),
            (Wish("portrait of a man", model="flux-dev-hd-realism"), AccessDenied, "modelKey"),
        ],
        ids=str,
    )
    def test_each_has_its_class_and_its_data(self, client, wish, kind, field):
        """A refusal is an error of its class, with the field at fault and the request's id."""
        project = client.first_project()
        with pytest.raises(kind) as caught:
            client.submit(project, wish)
        assert field in caught.value.details
        assert caught.value.request_id
        assert isinstance(caught.value, AvatarCreatorError)

    @ONE_DATABASE
    def test_of_the_account(self, client_of, make_account):
        """Too few credits, a key that is none, another's project."""
        poor = client_of(make_account(Tier.BASIC, credits=1))
        with pytest.raises(InsufficientCredits):
            poor.submit(poor.first_project(), WISH)
        with pytest.raises(NotFound):
            client_of(make_account()).submit(poor.first_project(), WISH)
        nobody = make_account()
        with pytest.raises(NotAuthenticated):
            client_of(type(nobody)(**{**vars(nobody), "token": "ac_none"})).balance()

    @pytest.mark.parametrize(
        ("body", "kind"),
        [
            (httpx.Response(502, text="<html>Bad gateway</html>"), "UNKNOWN"),
            (httpx.Response(500, json=[1]), "UNKNOWN"),
            (httpx.Response(500, content=b"{", headers={"content-type": "application/json"}), "UNKNOWN"),
        ],
        ids=["html", "list", "broken"],
    )
    def test_what_a_proxy_answers(self, body, kind):
        """An answer that is not the server's is an error, too."""
        with (
            Client("http://test", "key", transport=httpx.MockTransport(lambda _: body)) as client,
            pytest.raises(AvatarCreatorError) as caught,
        ):
            client.balance()
        assert caught.value.code == kind
        assert "key" not in str(caught.value)


class TestAlone:
    def test_it_needs_httpx_and_nothing_else(self):
        """It is imported without anything of the server's."""
        program = (
            "import sys, avatar_creator_client\n"
            "unwanted = {'server', 'catalog', 'inference', 'torch', 'pydantic', 'litestar', 'PIL'}\n"
            "print(sorted(unwanted & set(sys.modules)))"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
        )
        assert done.stdout == "[]\n"

    def test_its_distribution_has_what_the_project_pins(self):
        """The distribution of the client alone wants the httpx that the server's extra does."""
        alone, whole = ((ROOT / folder / "pyproject.toml").read_text("utf-8") for folder in ("client", "."))
        wanted = '"httpx>=0.28,<0.29"'
        assert wanted in alone
        assert wanted in whole
