from scripts.openapi import FILE, render


class TestOpenApi:
    def test_the_snapshot_is_the_api(self):
        """The OpenAPI document of the code is the one under version control; `make openapi` writes it."""
        assert render() == FILE.read_text("utf-8")
