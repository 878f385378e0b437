"""The existing front end's calls in their order on the real program, and what it reads of each answer."""

import json
import time
from io import BytesIO
from typing import Any

import httpx
import jwt
import pytest
from PIL import Image

from tests.e2e.program import wait_for

pytestmark = pytest.mark.e2e

ORIGIN = "https://create.example.com"
SECRET = "the platform's secret, of more than 32 bytes"  # noqa: S105  # made up
APP = "/api/apps/avatar-creator"
WELCOME = 100


def photo(width: int = 640, height: int = 480) -> bytes:
    """Return a photo as a telephone makes it."""
    file = BytesIO()
    Image.new("RGB", (width, height), "peru").save(file, "JPEG")
    return file.getvalue()


class FrontEnd:
    """A page: it sends its origin, reads JSON, and takes an error's words as the page does."""

    def __init__(self, url: str, token: str | None) -> None:
        headers = {"Origin": ORIGIN} | ({"Authorization": f"Bearer {token}"} if token else {})
        self.client = httpx.Client(base_url=url, headers=headers, timeout=30, trust_env=False)
        self.steps: set[tuple[str, str]] = set()  # each once, however often the page polls

    def call(self, method: str, path: str, status: int = 200, **request: Any) -> Any:
        """Make one call, check what a browser needs to let the page read the answer, and return it."""
        answer = self.client.request(method, path, **request)
        assert answer.status_code == status, (method, path, answer.text)
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert answer.headers["access-control-allow-credentials"] == "true"
        self.steps.add((method, path))
        return answer.json()

    def refused(self, method: str, path: str, status: int, **request: Any) -> str:
        """Make a call that is refused, and return the words that the page shows."""
        body = self.call(method, path, status, **request)
        assert body["message"] == body["error"]["message"]
        return str(body["error"]["message"])

    def image(self, path: str) -> Image.Image:
        """Open an image as `<img src>` does: without a header."""
        with httpx.Client(base_url=self.client.base_url, timeout=30, trust_env=False) as plain:
            answer = plain.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("image/")
        opened = Image.open(BytesIO(answer.content))
        opened.load()
        self.steps.add(("IMAGE", path))
        return opened

    def delivered(self, generation_id: str) -> Any:
        """Poll a generation as the page does, until it has failed or has an avatar."""

        def look() -> Any:
            found = self.call("GET", f"{APP}/generations/{generation_id}")["generation"]
            return found if found["status"] == "failed" or found["avatarId"] else None

        ended = wait_for("the avatar is there", look, period_s=0.5)
        assert ended["status"] == "completed", ended["errorMessage"]
        return self.call("GET", f"{APP}/avatars/{ended['avatarId']}")["avatar"]


def play(page: FrontEnd) -> None:
    """Play a user's first session through, from the empty list of projects to the last deletion."""
    project_id = begin(page)
    preset = choose_preset(page)
    avatars = [draw(page, project_id), draw_preset(page, project_id, preset), upload(page, project_id)]
    use(page, avatars[-1]["id"])
    look_back(page, avatars)
    err(page, project_id)
    clean_up(page, project_id, avatars)


def begin(page: FrontEnd) -> str:
    """Make a project and rename it; return its id."""
    assert page.call("GET", f"{APP}/projects")["projects"] == []
    assert page.call("GET", "/api/credits/balance")["data"]["balance"] == WELCOME
    project = page.call("POST", f"{APP}/projects", json={"name": "Mine", "description": "First"})["project"]
    own = f"{APP}/projects/{project['id']}"
    assert page.call("GET", own)["project"]["avatars"] == []
    assert page.call("PUT", own, json={"name": "Ours"})["project"]["name"] == "Ours"
    return str(project["id"])


def choose_preset(page: FrontEnd) -> Any:
    """Look at the presets of a category and return the first."""
    presets = page.call("GET", f"{APP}/presets?category=professional")["presets"]
    page.image(presets[0]["thumbnailUrl"])
    page.image(presets[0]["imageUrl"])
    preset = page.call("GET", f"{APP}/presets/{presets[0]['id']}")["preset"]
    json.loads(preset["personaTemplate"])
    json.loads(preset["visualAttributes"])
    return preset


def draw(page: FrontEnd, project_id: str) -> Any:
    """Have an avatar drawn by a prompt, and look at it."""
    wish = {"name": "Ada", "prompt": "portrait of a woman with long red hair", "gender": "female"}
    begun = page.call("POST", f"{APP}/projects/{project_id}/avatars/generate", json=wish)
    assert (begun["creditUsed"], begun["creditBalance"]) == (8, WELCOME - 8)
    json.loads(begun["generation"]["options"])
    avatar = page.delivered(begun["generation"]["id"])
    assert avatar["project"] == {"id": project_id, "name": "Ours"}
    assert page.image(avatar["baseImageUrl"]).size == (512, 512)
    assert page.image(avatar["thumbnailUrl"]).size == (300, 300)
    return avatar


def draw_preset(page: FrontEnd, project_id: str, preset: Any) -> Any:
    """Have an avatar drawn from a preset."""
    path = f"{APP}/projects/{project_id}/avatars/from-preset"
    begun = page.call("POST", path, json={"presetId": preset["id"]})
    assert begun["creditUsed"] == 8
    avatar = page.delivered(begun["generation"]["id"])
    assert (avatar["sourceType"], avatar["name"]) == ("from_preset", preset["name"])
    return avatar


def upload(page: FrontEnd, project_id: str) -> Any:
    """Upload a photo."""
    form = {"name": "Me", "personaPersonality": json.dumps(["calm"]), "gender": ""}
    files = {"image": ("me.jpg", photo(), "image/jpeg")}
    answer = page.call("POST", f"{APP}/projects/{project_id}/avatars/upload", data=form, files=files)
    assert (answer["creditUsed"], answer["creditBalance"]) == (2, WELCOME - 18)
    avatar = answer["avatar"]
    assert (avatar["sourceType"], avatar["gender"]) == ("uploaded", None)
    assert page.image(avatar["baseImageUrl"]).size == (640, 480)
    return avatar


def use(page: FrontEnd, avatar_id: str) -> None:
    """Rename an avatar and record a use of it."""
    own = f"{APP}/avatars/{avatar_id}"
    page.call("PUT", own, json={"name": "Myself", "hairColor": "brown"})
    page.call("POST", f"{own}/usage", json={"appId": "pose", "appName": "Poses", "action": "view"})
    history = page.call("GET", f"{own}/usage-history")
    assert history["success"] is True
    assert history["summary"][0]["count"] == 1
    renamed = page.call("GET", own)["avatar"]
    assert (renamed["name"], renamed["hairColor"], renamed["usageCount"]) == ("Myself", "brown", 1)


def look_back(page: FrontEnd, avatars: list[Any]) -> None:
    """Read the lists, the statistics and the credits."""
    listed = page.call("GET", f"{APP}/avatars")
    assert {one["id"] for one in listed["avatars"]} == {one["id"] for one in avatars}
    assert listed["meta"]["total"] == 3
    stats = page.call("GET", f"{APP}/stats")
    assert (stats["stats"]["totalAvatars"], stats["stats"]["recentUploads"]) == (3, 1)
    assert stats["stats"]["topUsedAvatars"][0]["id"] == avatars[-1]["id"]
    entries = page.call("GET", "/api/credits/history")
    assert [entry["amount"] for entry in entries] == [-2, -8, -8, WELCOME]
    assert entries[0]["balance"] == WELCOME - 18
    assert page.call("GET", "/api/models/popular")["data"]["models"]
    uses = page.call("GET", "/api/models/usage")["data"]["usages"]
    assert [one["model"]["name"] for one in uses] == ["FLUX.1-dev Base"] * 2
    assert page.call("GET", f"{APP}/models")["models"]


def err(page: FrontEnd, project_id: str) -> None:
    """Read what is wrong with two requests."""
    assert page.refused("GET", f"{APP}/projects/none", 404) == "Project not found"
    path = f"{APP}/projects/{project_id}/avatars/generate"
    assert "prompt" in page.refused("POST", path, 400, json={"name": "Ada"})


def clean_up(page: FrontEnd, project_id: str, avatars: list[Any]) -> None:
    """Delete an avatar, then the project with the others."""
    first, *others = avatars
    page.call("DELETE", f"{APP}/avatars/{first['id']}")
    assert page.refused("GET", f"{APP}/avatars/{first['id']}", 404) == "Avatar not found"
    page.call("DELETE", f"{APP}/projects/{project_id}")
    assert page.call("GET", f"{APP}/projects")["projects"] == []
    assert page.call("GET", f"{APP}/avatars")["avatars"] == []
    assert page.call("GET", "/api/credits/balance")["data"]["balance"] == WELCOME - 18
    for avatar in others:
        for image in (avatar["baseImageUrl"], avatar["thumbnailUrl"]):
            assert page.client.get(image).status_code == 404


@pytest.fixture(scope="class")
def program(start_hosted):
    """A program that knows the platform's secret and gives the old product's welcome credits."""
    running = start_hosted(
        AUTH_JWT_SECRET=SECRET,
        WELCOME_CREDITS=str(WELCOME),
        CORS_ORIGIN="http://localhost:5173,https://*.example.com",
    )
    yield running
    running.stop()


@pytest.fixture
def open_page(program):
    """Open pages of the front end with a token or none; they close with the test."""
    pages = []

    def opened(token):
        pages.append(FrontEnd(program.url, token))
        return pages[-1]

    yield opened
    for page in pages:
        page.client.close()


class TestSession:
    def session(self, **changes: Any) -> str:
        """Return a token as the platform issues it."""
        claims = {"userId": "cl9ebqhxk0000", "email": "ada@example.com", "exp": time.time() + 3600}
        return jwt.encode(claims | changes, SECRET, "HS256")

    def test_with_a_session_token(self, open_page):
        """A user of the platform plays the whole session with the platform's own token."""
        page = open_page(self.session())
        play(page)
        assert len(page.steps) >= 32

    def test_with_a_key(self, program, open_page):
        """A user with a key of this server plays the same session."""
        made = program.run("users", "create", "--tier", "free", "--credits", str(WELCOME), "--json")
        play(open_page(json.loads(made.stdout)["apiKey"]))

    def test_a_session_that_has_ended(self, open_page):
        """With an old, a foreign or no token the page reads why, and drops its token."""
        expired = self.session(exp=time.time() - 3600)
        assert open_page(expired).refused("GET", f"{APP}/projects", 401)
        foreign = jwt.encode({"userId": "x", "exp": time.time() + 60}, SECRET[::-1], "HS256")
        assert open_page(foreign).refused("GET", f"{APP}/projects", 401)
        assert open_page(None).refused("GET", f"{APP}/projects", 401)

    def test_the_preflight(self, open_page):
        """The browser's question before a call is answered for the page's origin and headers."""
        page = open_page(None)
        asked = {
            "Access-Control-Request-Method": "DELETE",
            "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
        }
        answer = page.client.options(f"{APP}/projects/x", headers=asked)
        assert answer.is_success
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "DELETE" in answer.headers["access-control-allow-methods"]
        stranger = page.client.options(
            f"{APP}/projects/x", headers=asked | {"Origin": "https://example.com.evil.net"}
        )
        assert stranger.headers.get("access-control-allow-origin") is None
