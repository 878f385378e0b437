"""What a provider cannot make a worker do: reach private hosts, and fill its memory."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest

from catalog.entries import shipped_entries
from catalog.orders import Order
from inference.hosted import errors
from tests.inference.hosted import floods
from tests.inference.hosted.box import picture
from tests.inference.hosted.faults import NEVER_AGAIN_S, trickle
from tests.inference.hosted.reaching import FLOODS

BASE = Order.of_entry(shipped_entries()[0], "a secret fox", seed=7)
MAX_GROWTH_MIB = 50
MAX_MIB = 300


@pytest.fixture
def ask(monkeypatch, box, backend_at):
    """Have a provider name an image to a backend that may reach the gateway alone; return its error."""
    monkeypatch.setattr("inference.hosted.backend.FIRST_WAIT_S", NEVER_AGAIN_S)

    def run(provider, response, networks=()):
        box.will(provider, response)
        with pytest.raises(errors.ProviderError) as raised:
            backend_at(provider, networks=networks).generate(BASE, lambda _: None)
        return raised.value

    return run


@pytest.fixture
def names(monkeypatch):
    """The addresses of names: those of private hosts, in place of the Internet's."""
    known = {"inside.example": ["10.0.0.1"], "mixed.example": ["8.8.8.8", "127.0.0.1"]}
    monkeypatch.setattr("outbound.connecting.look_up", lambda host, _: known.get(host, [host]))


@pytest.mark.usefixtures("names")
class TestReach:
    @pytest.mark.parametrize("provider", ["fal-ai", "replicate"])
    @pytest.mark.parametrize(
        "url",
        [
            "http://127.0.0.1:PORT/files/0.png",
            "https://127.0.0.1:PORT/files/0.png",
            "http://[::ffff:127.0.0.1]:PORT/files/0.png",
            "https://[::ffff:127.0.0.1]:PORT/files/0.png",
            "https://[::1]:PORT/files/0.png",
            "https://10.0.0.1/",
            "https://100.64.0.1/",
            "https://169.254.169.254/latest/meta-data/",
            "https://[fd00:ec2::254]/latest/meta-data/",
            "https://[64:ff9b::127.0.0.1]/",
            "https://inside.example/",
            "https://mixed.example/",
            "file:///etc/passwd",
            "ftp://127.0.0.1/",
        ],
    )
    def test_an_image_at_a_private_address_is_not_fetched(self, box, ask, provider, url):
        """A private address in any form is refused, even the gateway's, and nothing is sent there."""
        box.files["/files/0.png"] = picture((512, 512))
        error = ask(provider, floods.image_at(url))
        assert (type(error), error.code) == (errors.AddressRefused, "AI_PROVIDER_ERROR")
        assert error.outcome_unknown  # the provider may have drawn
        assert [request.method for request in box.requests] == ["POST"]
        assert "latest" not in str(error)

    def test_a_redirect_to_a_private_address_is_not_followed(self, box, ask):
        """An image that redirects to a private address is refused, and is asked for once."""
        error = ask("fal-ai", floods.redirect_image_to("https://inside.example/secret"), ["127.0.0.1"])
        assert type(error) is errors.AddressRefused
        assert [request.path for request in box.requests[1:]] == ["/page"]

    def test_a_redirected_order_was_not_drawn(self, ask):
        """A provider that redirects an order to a private host is known not to have drawn it."""
        error = ask(
            "fal-ai", lambda conversation: conversation.reply(307, "a/b", b"", Location="https://[::1]")
        )
        assert (type(error), error.outcome_unknown) == (errors.AddressRefused, False)


class TestData:
    @pytest.mark.parametrize("provider", ["fal-ai", "replicate"])
    def test_an_image_in_a_data_url(self, box, backend_at, provider):
        """An image that comes inside of the answer is delivered, and nothing is fetched."""
        box.will(provider, floods.in_data)
        picture = backend_at(provider).generate(BASE, lambda _: None)
        assert picture.image.size == (512, 512)
        assert [request.method for request in box.requests] == ["POST"]


class TestTime:
    def test_no_thread_outlives_the_deadline(self, box, ask, backend_at, monkeypatch):
        """A provider that sends a byte now and then holds the call's thread no longer than its deadline."""
        box.will("hf-inference", trickle)
        with pytest.raises(errors.ProviderTimeout):
            backend_at("hf-inference", timeout_s=1).generate(BASE, lambda _: None)
        deadline = time.monotonic() + 30
        while any(thread.name == "provider" for thread in threading.enumerate()):
            assert time.monotonic() < deadline
            time.sleep(0.05)


class TestMemory:
    def test_no_flood_fills_the_memory(self, box, record_property):
        """A process that gets every flood stays below 300 MB, and grows by less than 50 MB at each."""
        for flood, provider in FLOODS.values():
            box.will(provider, flood)
        ran = subprocess.run(
            [sys.executable, "-m", "tests.inference.hosted.reaching", box.url],
            env=os.environ | {"MALLOC_ARENA_MAX": "2"},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        grown_mib, peak_mib = json.loads(ran.stdout)
        record_property("figure", f"floods: peak {peak_mib:.0f} MiB, growth by flood in MiB {grown_mib}")
        assert max(grown_mib.values()) < MAX_GROWTH_MIB
        assert peak_mib < MAX_MIB
