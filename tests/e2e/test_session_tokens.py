from io import BytesIO

import httpx
import pytest
from PIL import Image

from tests.server.signing import SESSION_SECRET, bearer, signed

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="class")
def program(start_hosted):
    """A running program that knows the secret of the platform's session tokens."""
    running = start_hosted(AUTH_JWT_SECRET=SESSION_SECRET)
    yield running
    running.stop()


class TestSessionTokens:
    def test_a_new_user_gets_an_avatar(self, program):
        """A user of the platform whom the server never saw gets an avatar for 8 of the welcome credits."""
        user = program.user(signed("ada"))
        assert user.balance() == 100
        ended = user.ended(user.generate()["generation"]["id"])
        assert (ended["status"], ended["errorMessage"], ended["userId"]) == ("completed", None, "ada")
        avatar = user.get(f"avatars/{ended['avatarId']}")["avatar"]
        image = Image.open(
            BytesIO(httpx.get(program.url + avatar["baseImageUrl"]).raise_for_status().content)
        )
        assert (image.format, image.size) == ("PNG", (512, 512))
        assert user.balance() == 92

    def test_a_key_of_ones_own(self, program):
        """A key that a user issues by session token opens the same projects until it is revoked."""
        user = program.user(signed("bob", email="bob@example.com"))
        made = user.client.post("/api/keys", json={"label": "script"}).raise_for_status().json()
        by_key = program.user(made["token"], user.project_id)
        assert by_key.get(f"projects/{user.project_id}")["project"]["userId"] == "bob"
        user.client.delete(f"/api/keys/{made['key']['id']}").raise_for_status()
        answer = by_key.client.get("/api/keys")
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "TOKEN_INVALID")

    def test_a_deleted_user_is_out_at_once(self, program):
        """After `users delete` the same session token is refused by the running program."""
        user = program.user(signed("eve", email="eve@example.com"))
        deleted = program.run("users", "delete", "eve@example.com")
        assert deleted.returncode == 0, deleted.stderr
        answer = user.client.get("/api/credits/balance")
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "TOKEN_INVALID")

    @pytest.mark.parametrize(
        ("claims", "code"),
        [
            ({"iat": 1, "exp": 2}, "TOKEN_EXPIRED"),
            ({"exp": None}, "TOKEN_INVALID"),
            ({"secret": "s" * 32}, "TOKEN_INVALID"),
        ],
        ids=["expired", "without expiry", "forged"],
    )
    def test_other_tokens_are_refused(self, program, claims, code):
        """An old or forged session token is a 401 with the contract's code."""
        answer = httpx.get(
            f"{program.url}/api/avatar-creator/projects", headers=bearer(signed("mal", **claims))
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, code)

    def test_a_short_secret_stops_the_start(self, program):
        """With a secret under 32 bytes no command starts, and the message names the variable."""
        refused = program.run("models", AUTH_JWT_SECRET="short-secret")  # noqa: S106
        assert refused.returncode == 1
        assert "AUTH_JWT_SECRET must be at least 32 bytes" in refused.stderr
        assert "short-secret" not in refused.stderr
