"""The client, against a server on loopback: what it reaches, where it stops, and what it tells."""

import time
import zlib

import httpx2
import pytest

from outbound.errors import AddressRefused, EncodingRefused, OutboundRefused, ResponseTooLarge, SchemeRefused

ENDLESS_S = 30
"""For tests in which another bound ends the request."""


def redirect_to(url):
    return lambda visit: visit.reply(b"", 307, Location=url)


def drip(head, part, pause_s=0.05):
    """Send a beginning, then a few bytes now and then, for ever."""

    def answer(visit):
        visit.wfile.write(head)
        while not visit.site.closing.wait(pause_s):
            visit.wfile.write(part)
            visit.wfile.flush()

    return answer


def pour(visit):
    """Send a body without an announced length and without an end."""
    visit.send_response(200)
    visit.send_header("Connection", "close")
    visit.end_headers()
    while not visit.site.closing.is_set():
        visit.wfile.write(bytes(2**16))


class TestAddresses:
    @pytest.mark.parametrize("host", ["127.0.0.2", "[::1]", "0", "2130706434", "0x7f.2"])
    def test_a_private_address_is_not_connected_to(self, site, make_client, host):
        """A loopback address in any notation is refused by both schemes, and its server hears nothing."""
        for scheme in ("http", "https"):
            with pytest.raises(AddressRefused):
                make_client().get(site.at("/", host, scheme))
        assert site.visits == []

    def test_a_name_with_a_private_address(self, site, make_client, names):
        """A name is refused if any of its addresses is private; the error holds host and address."""
        names["inside.example"] = [["127.0.0.1", "127.0.0.2"]]
        with pytest.raises(AddressRefused) as refused:
            make_client().get(site.at("/secret?key=k", "inside.example"))
        assert (refused.value.host, refused.value.address) == ("inside.example", "127.0.0.2")
        assert "key" not in str(refused.value)
        assert "secret" not in str(refused.value)
        assert site.visits == []

    def test_the_checked_address_is_the_one_connected_to(self, site, make_client, names):
        """A name that changes its address after the check is reached at the checked one, or refused."""
        names["rebinding.example"] = [["127.0.0.1"], ["127.0.0.2"]]
        site.answers["/"] = lambda visit: visit.reply(b"once", Connection="close")
        client = make_client()
        assert client.get(site.at("/", "rebinding.example")).text == "once"
        with pytest.raises(AddressRefused):
            client.get(site.at("/", "rebinding.example"))
        assert [headers["host"] for _, headers in site.visits] == [f"rebinding.example:{site.port}"]

    def test_the_next_address_is_tried(self, site, make_client, names):
        """If the first permitted address does not answer, the next one is connected to."""
        names["two.example"] = [["::1", "127.0.0.1"]]
        assert make_client(("127.0.0.1", "::1")).get(site.at("/", "two.example")).text == "hello"

    @pytest.mark.parametrize(
        "url", ["file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1/", "unix:///tmp/a"]
    )
    def test_other_schemes(self, make_client, url):
        """Only http and https are schemes."""
        with pytest.raises(SchemeRefused):
            make_client().get(url)

    def test_http_needs_an_allowed_network(self, site, make_client, names):
        """Without allowed networks http is refused before the name is resolved."""
        names["public.example"] = [["8.8.8.8"], []]
        with pytest.raises(SchemeRefused):
            make_client(networks=()).get("http://public.example/")
        assert len(names["public.example"]) == 2
        with pytest.raises(AddressRefused):
            make_client().get("http://public.example/")

    def test_a_name_that_does_not_resolve(self, make_client, monkeypatch):
        """A name without an address is a failed connection."""

        def look_up(*_):
            raise OSError("no such name")

        monkeypatch.setattr("outbound.connecting.look_up", look_up)
        with pytest.raises(httpx2.ConnectError):
            make_client().get("https://nowhere.example/")


class TestTls:
    def test_the_name_is_verified(self, tls_site, make_client, names):
        """The certificate is checked for the name in the URL, though the connection is made by address."""
        names |= {"right.example": [["127.0.0.1"]], "wrong.example": [["127.0.0.1"]]}
        client = make_client()
        assert client.get(tls_site.at("/right", "right.example", "https")).text == "hello"
        with pytest.raises(httpx2.ConnectError):
            client.get(tls_site.at("/wrong", "wrong.example", "https"))
        with pytest.raises(httpx2.ConnectError):
            client.get(tls_site.at("/wrong", scheme="https"))
        assert tls_site.paths == ["/right"]


class TestRedirects:
    def test_a_redirect_to_a_private_address(self, site, make_client):
        """A redirect from a permitted address to a private one is refused before it is followed."""
        site.answers["/"] = redirect_to(site.at("/inside", "127.0.0.2"))
        with pytest.raises(AddressRefused):
            make_client().get(site.at("/"))
        assert site.paths == ["/"]

    def test_a_redirect_to_another_scheme(self, site, make_client):
        """A redirect to a file is refused."""
        site.answers["/"] = redirect_to("file:///etc/passwd")
        with pytest.raises(OutboundRefused):
            make_client().get(site.at("/"))

    def test_three_redirects_are_followed(self, site, make_client):
        """The third redirect is followed, the fourth is not."""
        for number in range(3):
            site.answers[f"/{number}"] = redirect_to(f"/{number + 1}")
        assert make_client().get(site.at("/0")).text == "hello"
        site.answers["/3"] = redirect_to("/4")
        with pytest.raises(httpx2.TooManyRedirects):
            make_client().get(site.at("/0"))
        assert "/4" not in site.paths

    def test_credentials_stay_at_their_origin(self, site, make_client, names):
        """The token goes to the redirects of its own origin, and to no other."""
        names["other.example"] = [["127.0.0.1"]]
        site.answers |= {"/0": redirect_to("/1"), "/1": redirect_to(site.at("/2", "other.example"))}
        make_client().get(site.at("/0"), headers={"Authorization": "Bearer secret"})
        tokens = [headers.get("authorization") for _, headers in site.visits]
        assert tokens == ["Bearer secret", "Bearer secret", None]

    def test_the_deadline_is_that_of_all_redirects(self, site, make_client):
        """Redirects share one deadline: each takes time, and none gets time of its own."""

        def later(url):
            def answer(visit):
                visit.site.closing.wait(0.4)
                visit.reply(b"", 307, Location=url)

            return answer

        site.answers |= {"/0": later("/1"), "/1": later("/2"), "/2": later("/3")}
        with pytest.raises(httpx2.TimeoutException):
            make_client(total_s=0.9).get(site.at("/0"))
        assert "/3" not in site.paths


class TestBounds:
    @pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "gzip, gzip", "GZIP"])
    def test_an_encoded_body_is_refused(self, site, make_client, coding):
        """No encoding is asked for, and an encoded body is not read: it could have any size."""
        site.answers["/"] = lambda visit: visit.reply(zlib.compress(bytes(2**20)), Content_Encoding=coding)
        with pytest.raises(EncodingRefused):
            make_client().get(site.at("/"))
        assert site.visits[0][1]["accept-encoding"] == "identity"

    def test_an_encoded_error_keeps_its_status(self, site, make_client):
        """The body of an error is dropped if it is encoded, and its status is told."""
        site.answers["/"] = lambda visit: visit.reply(zlib.compress(b"no"), 401, Content_Encoding="deflate")
        response = make_client().get(site.at("/"))
        assert (response.status_code, response.content) == (401, b"")

    def test_an_announced_size(self, site, make_client):
        """A body that is announced as too large is refused before it comes, and one at the bound is not."""
        site.answers["/"] = drip(b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n", b"")
        with pytest.raises(ResponseTooLarge):
            make_client(max_bytes=1000, total_s=ENDLESS_S).get(site.at("/"))
        site.answers["/"] = lambda visit: visit.reply(bytes(1000))
        assert len(make_client(max_bytes=1000).get(site.at("/")).content) == 1000

    def test_a_body_without_an_end(self, site, make_client):
        """A body of unknown length is cut at the bound."""
        site.answers["/"] = pour
        with pytest.raises(ResponseTooLarge) as refused:
            make_client(max_bytes=10**6, total_s=ENDLESS_S).get(site.at("/"))
        assert refused.value.max_bytes == 10**6

    @pytest.mark.parametrize(
        ("head", "part"),
        [
            (b"HTTP/1.1 200 OK\r\n", b"X-More: yes\r\n"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"."),
            (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
        ],
        ids=["headers", "body", "interim responses"],
    )
    def test_a_drip(self, site, make_client, head, part):
        """A server that sends a few bytes now and then, and never ends, is left at the deadline."""
        site.answers["/"] = drip(head, part)
        began = time.monotonic()
        with pytest.raises(httpx2.ReadTimeout):
            make_client(total_s=0.5).get(site.at("/"))
        assert time.monotonic() - began < ENDLESS_S

    def test_silence(self, site, make_client):
        """A download without a deadline ends when the server is silent for too long, and not before."""
        site.answers["/"] = drip(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b".", pause_s=3600)
        with pytest.raises(httpx2.ReadTimeout):
            make_client(total_s=float("inf"), silence_s=0.3).get(site.at("/"))

    def test_headers_without_an_end(self, site, make_client):
        """Headers of more than 100 KiB are refused."""
        site.answers["/"] = drip(b"HTTP/1.1 200 OK\r\n", b"X-More: yes\r\n" * 1000, pause_s=0.001)
        with pytest.raises(httpx2.RemoteProtocolError):
            make_client(total_s=ENDLESS_S).get(site.at("/"))

    def test_a_name_server_that_does_not_answer(self, make_client, monkeypatch, site):
        """The deadline holds while a name is resolved."""
        monkeypatch.setattr("outbound.connecting.look_up", lambda *_: site.closing.wait(60))
        with pytest.raises(httpx2.ConnectTimeout):
            make_client(total_s=0.3).get("https://slow.example/")
        site.closing.set()


class TestEnvironment:
    def test_no_proxy_of_the_environment(self, site, make_client, monkeypatch):
        """HTTP_PROXY and its siblings are not read."""
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        assert make_client().get(site.at("/")).text == "hello"

    def test_no_cookies_are_kept(self, site, make_client):
        """What a server sets as a cookie is not sent back, nor kept in memory."""
        site.answers["/"] = lambda visit: visit.reply(b"", Set_Cookie="a=b; Path=/")
        client = make_client()
        client.get(site.at("/"))
        client.get(site.at("/"))
        assert not any("cookie" in headers for _, headers in site.visits)
        assert len(client.cookies.jar) == 0

    def test_behind_a_proxy_addresses_are_still_checked(self, site, make_client):
        """The operator's proxy resolves names; addresses in URLs, and http, are refused without it."""
        client = make_client(networks=(), proxy_url=site.at(""))
        for url in ("https://10.0.0.1/", "https://[::1]/", "http://public.example/"):
            with pytest.raises(OutboundRefused):
                client.get(url)
        assert site.visits == []
