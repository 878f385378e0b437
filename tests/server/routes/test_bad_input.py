"""Bad input to every route that the application has: a refusal of the contract, never a bug."""

import gzip
import json
import uuid

import pytest
from litestar.routes import HTTPRoute

WISH = {"name": "Ada", "prompt": "portrait of a woman with long red hair"}
GOOD = json.dumps(WISH)[1:-1]
PARTS = b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\nAda\r\n--x--\r\n'
BODIES = {
    "nothing": b"",
    "null": b"null",
    "array": b"[" + json.dumps(WISH).encode() + b"]",
    "text": b'"name"',
    "number": b"7",
    "truncated": json.dumps(WISH).encode()[:-5],
    "two documents": json.dumps(WISH).encode() * 2,
    "trailing comma": f"{{{GOOD},}}".encode(),
    "comment": f"{{{GOOD}}} // more".encode(),
    "single quotes": str(WISH).encode(),
    "repeated name": f'{{"name": "Eve", {GOOD}}}'.encode(),
    "repeated unknown name": f'{{{GOOD}, "x": 1, "x": 1}}'.encode(),
    "repeated name within": f'{{{GOOD}, "x": [{{"y": 1, "y": 2}}]}}'.encode(),
    "not UTF-8": f'{{{GOOD}, "x": "'.encode() + b'\xff\xfe"}',
    "UTF-16": json.dumps(WISH).encode("utf-16"),
    "UTF-32": json.dumps(WISH).encode("utf-32-be"),
    "byte order mark": b"\xef\xbb\xbf" + json.dumps(WISH).encode(),
    "half a surrogate pair": f'{{{GOOD}, "x": "\\ud800"}}'.encode(),
    "the other half": f'{{{GOOD}, "x": "\\udc00a"}}'.encode(),
    "name of half a pair": f'{{{GOOD}, "\\ud800": 1}}'.encode(),
    "control character": f'{{{GOOD}, "x": "a\nb"}}'.encode(),
    "NUL": f"{{{GOOD}}}\0".encode(),
    "NaN": f'{{{GOOD}, "x": NaN}}'.encode(),
    "infinity": f'{{{GOOD}, "x": -Infinity}}'.encode(),
    "too large a number": f'{{{GOOD}, "x": 1e999}}'.encode(),
    "too many digits": f'{{{GOOD}, "x": {"9" * 5000}}}'.encode(),
    "deep arrays": f'{{{GOOD}, "x": {"[" * 20_000}{"]" * 20_000}}}'.encode(),
    "deep objects": b'{"x":' * 10_000 + b"1" + b"}" * 10_000,
    "unclosed arrays": b"[" * 60_000,
    "form": b"name=Ada&prompt=portrait+of+a+woman",
    "multipart": PARTS,
    "msgpack": b"\x82\xa4name\xa3Ada",
    "gzip": gzip.compress(json.dumps(WISH).encode()),
    "too large": b" " * 70_000,
}
TYPES = [
    "application/json",
    "application/json; charset=utf-16",
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "multipart/form-data",
    "application/x-msgpack",
    "image/png",
    "no type at all",
    "",
]
IDS = [
    *("none", "%FF", "%C3%28", "%ED%A0%80", "%F0%9F%98%80", "'%20OR%201=1", "..", "*", "%25", "%7B%7D", "-1"),
    *("x" * 5000, str(uuid.UUID(int=0)), "9" * 400, "NaN", "%0A", "%5C", "%2e%2e", ";", "null", "%E2%80%AE"),
]
UPWARDS = ("..", "%2e%2e")
DIALECTS = ("/v1/", "/models/", "/fal/", "/sdapi/")
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "BREW"]


def routes_of(api):
    """Yield path template, methods and handlers of every route but those of the API's documentation."""
    for route in api.client.app.routes:
        if isinstance(route, HTTPRoute) and not route.path.startswith("/schema"):
            yield (
                route.path_format,
                route.methods,
                {
                    method: handler
                    for handler in route.route_handlers
                    for method in handler.http_methods
                    if method != "OPTIONS"
                },
            )


def paths(api, account, id_):
    """Yield method, handler and path of every route, all of its parameters replaced."""
    for template, _, handlers in routes_of(api):
        parts = [
            (account.project_id if part == "{project_id}" and id_ is None else id_ or "none")
            if part.startswith("{")
            else part
            for part in template.split("/")
        ]
        for method, handler in handlers.items():
            yield method, handler, "/".join(parts)


def is_refusal(api, answer):
    """Check that an answer is a refusal in the contract's shape, or in the shape of a dialect."""
    body = answer.json()
    error = body.get("error")
    assert 400 <= answer.status_code < 500, answer.text
    assert "Traceback" not in answer.text
    if answer.request.url.path.startswith(DIALECTS) and answer.status_code not in (404, 405):
        assert body.keys() <= {"error", "error_type", "detail", "title", "status", "code"}
    elif isinstance(error, dict) and "statusCode" in error:
        api.refused(answer, answer.status_code, error["code"], error.get("field"))
    else:
        assert answer.request.url.path.startswith(DIALECTS)


class TestBodies:
    def test_no_route_reads_them(self, api, make_account, subtests):
        """A body that is not exactly one JSON object is refused by every route that reads one."""
        account = make_account()
        readers = [
            (method, path)
            for method, handler, path in paths(api, account, None)
            if "data" in handler.parsed_fn_signature.parameters
        ]
        assert len(readers) >= 4
        for method, path in readers:
            for name, body in BODIES.items():
                with subtests.test(method=method, path=path, body=name):
                    is_refusal(api, api.client.request(method, path, content=body, headers=account.headers))
        api.nothing_happened(account)

    def test_no_content_type_makes_a_bug(self, api, make_account, subtests):
        """Whatever a body calls itself, a bad one is refused."""
        account = make_account()
        for method, handler, path in paths(api, account, None):
            if "data" not in handler.parsed_fn_signature.parameters:
                continue
            for kind in TYPES:
                for name in ("truncated", "multipart", "form", "msgpack", "gzip", "nothing"):
                    with subtests.test(method=method, path=path, kind=kind, body=name):
                        headers = account.headers | {"Content-Type": kind}
                        is_refusal(
                            api, api.client.request(method, path, content=BODIES[name], headers=headers)
                        )
        api.nothing_happened(account)


class TestTargets:
    def test_no_id_makes_a_bug(self, api, make_account, subtests):
        """An id of any form that is nobody's is not found, on every route with a parameter."""
        account = make_account()
        for id_ in IDS:
            for method, handler, path in paths(api, account, id_):
                if id_ in UPWARDS and (
                    path.endswith(f"/{id_}/events") or path.startswith(("/page/", *DIALECTS))
                ):
                    continue  # the client makes it the stream of all events, which has no end, or the page
                if f"/{id_}" in path and "data" not in handler.parsed_fn_signature.parameters:
                    with subtests.test(method=method, path=path[:80]):
                        is_refusal(api, api.client.request(method, path, headers=account.headers))

    def test_a_method_that_a_route_lacks(self, api, make_account, subtests):
        """Every method that a route does not have is refused, with the methods that it has."""
        account = make_account()
        for template, methods, _ in routes_of(api):
            allowed = {*methods, "HEAD"} if "GET" in methods else set(methods)
            for method in set(METHODS) - allowed:
                with subtests.test(method=method, path=template):
                    answer = api.client.request(method, template, headers=account.headers)
                    assert answer.status_code == 405
                    assert set(answer.headers["allow"].split(", ")) == allowed
                    if method != "HEAD":
                        api.refused(answer, 405, "METHOD_NOT_ALLOWED")

    @pytest.mark.parametrize("query", ["", "=", "&&&", "%", "%zz", "a=%ff", "a[]=1&a[]=2", "a=" + "x" * 9000])
    def test_no_query_makes_a_bug(self, api, make_account, query):
        """A query that a route does not read changes nothing, whatever it is."""
        account = make_account()
        answer = api.client.get(f"/api/credits/balance?{query}", headers=account.headers)
        assert answer.json()["data"] == {"balance": 100}
