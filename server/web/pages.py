"""Serves the pages. All of them come from this server, and they may load and run nothing else."""

from typing import Any, Final

from litestar import Request, Response, get
from litestar.openapi.plugins import OpenAPIRenderPlugin
from litestar.params import FromPath

from server.http.request import ApiRequest
from server.web import files
from server.web.files import File

FOLDER: Final = "/page"
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
UNCHANGED: Final = 304


@get("/", public=True, rate_limit="exempt", include_in_schema=False)
async def read_page(request: ApiRequest) -> Response[bytes]:
    """Return the page that draws, or that it is the one which the browser has."""
    return _answer(files.document("index.html", FOLDER), "no-cache", request)


@get("/docs", public=True, rate_limit="exempt", include_in_schema=False)
async def read_documentation(request: ApiRequest) -> Response[bytes]:
    """Return the page that describes the API."""
    return _answer(files.document("docs.html", FOLDER), "no-cache", request)


class Documentation(OpenAPIRenderPlugin):
    """The same page at the address of the OpenAPI documents."""

    def __init__(self) -> None:
        super().__init__(path="/")

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:  # noqa: ARG002  # as the base declares it
        """Return the page, which reads the document by itself."""
        return files.document("docs.html", FOLDER).content


@get(FOLDER + "/{version:str}/{path:path}", public=True, rate_limit="exempt", include_in_schema=False)
async def read_asset(version: FromPath[str], path: FromPath[str], request: ApiRequest) -> Response[bytes]:
    """Return a script, a style or a picture of the page."""
    return _answer(files.asset(version, path.strip("/")), "public, max-age=31536000, immutable", request)


def _answer(file: File, caching: str, request: ApiRequest) -> Response[bytes]:
    headers = HEADERS | {"Cache-Control": caching, "ETag": file.etag}
    if request.headers.get("if-none-match") == file.etag:
        return Response(b"", status_code=UNCHANGED, media_type=file.media_type, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)
