"""The pages as the application serves them."""

import re

import pytest

from server.web import files
from server.web.pages import FOLDER
from tests.databases import ONE_DATABASE

LINKED = re.compile(r'(?:src|href)="([^"#]+)"')
IMPORTED = re.compile(r'^import [^;]*?from "\./([^"]+)";', re.MULTILINE | re.DOTALL)


@pytest.fixture(params=["/", "/docs", "/schema"])
def document(api, request):
    answer = api.client.get(request.param)
    assert answer.status_code == 200
    return answer


@ONE_DATABASE
class TestDocument:
    def test_it_is_there_for_everybody(self, document):
        """Without a token a browser gets the document."""
        assert document.headers["content-type"] == "text/html; charset=utf-8"
        assert "<title>Avatar Creator" in document.text

    def test_nothing_foreign_and_nothing_inline_may_run(self, document):
        """The policy lets scripts and styles come from this server only, and never out of the document."""
        policy = dict(part.split(" ", 1) for part in document.headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
        assert document.headers["x-content-type-options"] == "nosniff"
        assert document.headers["referrer-policy"] == "no-referrer"

    def test_all_that_it_loads_is_served(self, api, document):
        """Every script, style and picture that the document names has the right type, for a year."""
        linked = LINKED.findall(document.text)
        assert len(linked) > 3
        for address in linked:
            if address == "/schema/openapi.json":
                continue
            answer = api.client.get(address)
            assert answer.status_code == 200, address
            assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
            assert answer.headers["content-type"] != "text/html; charset=utf-8"

    @pytest.mark.parametrize("path", ["/", "/docs"])
    def test_a_browser_that_has_it_is_not_sent_it_again(self, api, path):
        """With the document's tag the answer is 304 and empty."""
        first = api.client.get(path)
        again = api.client.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert first.headers["cache-control"] == "no-cache"


class TestModules:
    def test_modules_import_what_is_there(self):
        """Every module that a module imports is an asset."""
        scripts = {path: file for path, file in files.assets().items() if path.endswith(".js")}
        imported = {name for file in scripts.values() for name in IMPORTED.findall(file.content.decode())}
        assert "api.js" in imported
        assert imported <= set(scripts)
        assert set(scripts) - imported == {"app.js", "docs.js", "vendor/swagger-ui-bundle.js"}


@ONE_DATABASE
class TestAssets:
    @pytest.mark.parametrize("path", ["none.js", "../files.py", "vendor/vendor.toml", "index.html"])
    def test_other_files_are_not_served(self, api, path):
        """What is no asset is 404, also if it lies in the folder or above it."""
        assert api.client.get(f"{FOLDER}/{files.version()}/{path}").status_code == 404

    def test_another_version_is_not_served(self, api):
        """An asset of another version is 404, so that two versions never mix."""
        api.refused(api.client.get(f"{FOLDER}/0123456789abcdef/app.js"), 404, "RESOURCE_NOT_FOUND")
