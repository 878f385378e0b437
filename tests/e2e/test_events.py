import re
import time
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.e2e.program import wait_for


class TestFollowing:
    def test_a_client_follows_a_generation_to_its_image(self, program):
        """The stream of a real generation tells its way and ends with paths that open."""
        user = program.new_user("free")
        generation = user.generate()["generation"]
        text = user.client.get(f"/api/avatar-creator/generations/{generation['id']}/events", timeout=90).text
        happened = re.findall(r"^event: (\w+)\r$", text, re.MULTILINE)
        assert happened[:2] == ["queued", "started"]
        assert happened[-1] == "completed"
        assert set(happened[2:-1]) <= {"step"}
        (path,) = re.findall(r'"imageUrl": "([^"]+)"', text)
        assert user.client.get(path).headers["content-type"] == "image/png"

    def test_a_client_waits_for_its_end(self, program):
        """A request that waits is answered with the finished generation."""
        user = program.new_user("free")
        generation_id = user.generate()["generation"]["id"]
        answer = user.client.get(f"/api/avatar-creator/generations/{generation_id}?wait=60", timeout=90)
        assert answer.json()["generation"]["status"] == "completed"


class TestStopping:
    def test_a_stop_ends_the_streams(self, start_hosted):
        """On Ctrl-C an open stream ends as a complete answer, and nobody waits for the grace of requests."""
        program = start_hosted()
        user = program.new_user("free")
        lines = []

        def follow():
            with (
                httpx.Client(base_url=program.url, headers=user.client.headers, timeout=90) as client,
                client.stream("GET", "/api/avatar-creator/events") as answer,
            ):
                lines.append(answer.status_code)
                lines.extend(answer.iter_lines())

        with ThreadPoolExecutor(1) as threads:
            following = threads.submit(follow)
            wait_for("the stream is open", lambda: lines)
            began = time.monotonic()
            program.stop()
            following.result()
        assert lines[0] == 200
        assert time.monotonic() - began < 60
