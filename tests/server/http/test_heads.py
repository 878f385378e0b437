import asyncio
from typing import cast

import httpx
import pytest
from litestar.routes import HTTPRoute
from litestar.types import HTTPReceiveMessage, Message, Receive, Scope, Send

from server.http.alias import PREFIX
from server.http.heads import Heads
from tests.databases import ONE_DATABASE
from tests.server.http.serving import served


@ONE_DATABASE
class TestHead:
    def test_every_get_has_it(self, api, make_account, subtests):
        """HEAD is answered with the status and the kind of GET, and with no body."""
        account = make_account()
        for route in api.client.app.routes:
            assert isinstance(route, HTTPRoute)
            if "GET" not in route.methods or route.path_format.endswith("/events"):
                continue
            with subtests.test(path=route.path_format):
                get, head = (
                    api.client.request(method, route.path_format, headers=account.headers)
                    for method in ("GET", "HEAD")
                )
                assert head.content == b""
                assert head.status_code == get.status_code
                assert head.headers.get("content-type") == get.headers.get("content-type")

    def test_a_length_is_told(self, api, make_account):
        """HEAD tells the length of the body that GET would have."""
        get, head = (api.client.request(method, f"{PREFIX}/presets") for method in ("GET", "HEAD"))
        assert head.headers["content-length"] == str(len(get.content))

    @pytest.mark.timeout(30)
    def test_a_stream_ends(self, api, make_account, submit_one):
        """HEAD of a stream of events gets its headers, and holds no stream."""
        account = make_account()
        generation = submit_one(account)
        for path in ("events", f"generations/{generation.id}/events"):
            answer = api.client.head(f"{PREFIX}/{path}", headers=account.headers)
            assert (answer.status_code, answer.content) == (200, b"")
            assert answer.headers["content-type"].startswith("text/event-stream")

    def test_the_log_names_the_method(self, api, log_lines):
        """A line of the access log has the method that the client used."""
        api.client.head("/health")
        assert [line["method"] for line in log_lines() if line["event"] == "request.answered"] == ["HEAD"]

    def test_from_a_real_server(self, settings, make_account):
        """On one connection, answers to HEAD are followed by others, streams too."""
        headers = make_account().headers
        with served(settings) as url, httpx.Client(base_url=url, trust_env=False, timeout=10) as client:
            for path in (f"{PREFIX}/events", f"{PREFIX}/presets", "/nope", "/health"):
                head = client.head(path, headers=headers)
                assert head.status_code == (404 if path == "/nope" else 200), path
                assert client.get("/health").json()["status"] == "ok"


class TestAStream:
    @pytest.mark.parametrize("last", [True, False])
    def test_a_stream_that_just_stops(self, last):
        """The answer is complete, once, whether or not a stream whose reader has left says that it ends."""
        sent: list[Message] = []

        async def stream(_scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"data: 1", "more_body": True})
            assert await receive() == {"type": "http.disconnect"}
            if last:
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        async def silent() -> HTTPReceiveMessage:
            return await asyncio.get_running_loop().create_future()

        async def sending(message: Message) -> None:
            sent.append(message)

        scope = cast("Scope", {"type": "http", "method": "HEAD", "path": "/events"})
        asyncio.run(Heads(stream)(scope, silent, sending))
        assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
        assert sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


@ONE_DATABASE
class TestAllow:
    def test_it_lists_head(self, api):
        """Where GET is allowed, HEAD is too, and the header says so."""
        for answer in (api.client.options("/health"), api.client.post("/health")):
            assert answer.headers["allow"] == "GET, HEAD, OPTIONS"

    def test_a_route_that_only_writes(self, api, make_account):
        """A route without GET has no HEAD."""
        account = make_account()
        path = f"{PREFIX}/projects/{account.project_id}/avatars/generate"
        answer = api.client.head(path, headers=account.headers)
        assert (answer.status_code, answer.headers["allow"]) == (405, "OPTIONS, POST")
