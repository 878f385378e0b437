"""The load: clients of several users and tiers that use the API as a front end does."""

import threading
import time
from contextlib import suppress

from tests.chaos.dialects import draw_by_fal, draw_by_openai
from tests.chaos.hanging_up import hang_up
from tests.chaos.promises import Promise, Promises
from tests.chaos.session import API, LATER, MARK, SCHNELL, Account, Session, new_key
from tests.inference.hosted.box import picture


class Client(Session):
    """One user's front end. Its steps are drawn by chance; only one thread uses it at a time."""

    def __init__(self, account: Account, urls: list[str], promises: Promises, seed: str) -> None:
        super().__init__(account, urls, promises, seed)
        self.presets: list[str] = []
        weights = {
            self.generate: 30,
            self.follow: 30,
            self.read: 12,
            self.cancel: 6,
            self.change_of_mind: 6,
            self.from_preset: 6,
            self.upload: 6,
            self.delete_avatar: 12,
            self.delete_generation: 4,
            self.project_of_a_moment: 4,
            self.key_of_a_moment: 3,
            self.repeat: 6,
            self.change: 4,
            self.another_dialect: 6,
        }
        others = [step for step in weights if step != self.generate]
        self._new = [self.generate, *self.chance.sample(others, len(others))]
        self._steps, self._weights = list(weights), list(weights.values())

    def run(self, stopped: threading.Event) -> None:
        """Take each step once, and then one after another by chance until stopped."""
        for step in self._new:
            step()
        self._new = []
        while not stopped.wait(self.chance.uniform(0.05, 0.4)):
            self.chance.choices(self._steps, self._weights)[0]()

    def generate(self, project_id: str | None = None) -> Promise | None:
        """Request an avatar, three times of four under a key, which is repeated until it is answered."""
        body = {
            "name": "Ada",
            "prompt": f"portrait of a person with a {MARK} {self.chance.randrange(1000)}",
            "seed": self.chance.randrange(2**32),
        }
        if self.chance.random() < 0.8:
            body["modelKey"] = SCHNELL
        path = f"{API}/projects/{project_id or self.account.project_id}/avatars/generate"
        return self.submit("generate", path, body, keyed=self.chance.random() < 0.75, project_id=project_id)

    def from_preset(self) -> None:
        """Request an avatar of a preset."""
        if not self.presets:
            answer = self.ask("presets", "GET", f"{API}/presets")
            if answer is None or not answer.is_success:
                return
            self.presets = [preset["id"] for preset in answer.json()["presets"]]
        path = f"{API}/projects/{self.account.project_id}/avatars/from-preset"
        self.submit("from-preset", path, {"presetId": self.chance.choice(self.presets)}, keyed=True)

    def follow(self) -> None:
        """Wait for a generation, and fetch its image when it is there."""
        promise = self._some(ended=False)
        if promise is None:
            return
        path = f"{API}/generations/{promise.generation_id}"
        params = {"wait": self.chance.choice([0, 0, 1, 3])}
        answer = self.ask("wait" if params["wait"] else "read", "GET", path, (404,), params=params)
        if answer is None or answer.status_code in LATER:
            return
        if answer.status_code == 404:
            if not self.promises.may_be_gone(promise.generation_id, promise.project_id):
                self.promises.violated(f"{promise.generation_id} was accepted and is not found")
            promise.ended = True
            return
        generation = answer.json()["generation"]
        if generation["status"] not in ("completed", "failed"):
            return
        promise.ended = True
        promise.avatar_id = generation["avatarId"]
        if generation["status"] == "completed" and generation["imageUrl"]:
            promise.delivered_image = generation["imageUrl"]
            self._fetch(promise)

    def _fetch(self, promise: Promise) -> None:
        assert promise.delivered_image is not None
        answer = self.ask("image", "GET", promise.delivered_image, (404,))
        if answer is None or answer.status_code in LATER:
            return
        gone = self.promises.may_be_gone(promise.avatar_id, promise.project_id)
        if (answer.status_code == 404 or not answer.content.startswith(b"\x89PNG")) and not gone:
            self.promises.violated(f"the image of {promise.generation_id} cannot be fetched")

    def read(self) -> None:
        """Read a list or the balance."""
        path = self.chance.choice(
            [
                f"{API}/generations",
                f"{API}/avatars",
                f"{API}/projects",
                f"{API}/catalogue",
                f"{API}/presets",
                f"{API}/stats",
                "/readyz",
                "/api/credits/balance",
                "/api/credits/history",
                "/api/keys",
                f"{API}/models",
            ]
        )
        self.ask(path.rsplit("/", 1)[1], "GET", path)

    def cancel(self) -> None:
        """Cancel a generation that may not have ended."""
        promise = self._some(ended=False)
        if promise is not None:
            self._cancel(promise)

    def change_of_mind(self) -> None:
        """Request an avatar, and cancel or delete the generation before it can have ended."""
        promise = self.generate()
        if promise is None:
            return
        time.sleep(self.chance.uniform(0, 0.5))
        if self.chance.random() < 0.5:
            self._cancel(promise)
        else:
            self._delete_generation(promise)

    def _delete_generation(self, promise: Promise) -> None:
        self._delete("generations", promise.generation_id, [])
        promise.ended = True

    def _cancel(self, promise: Promise) -> None:
        path = f"{API}/generations/{promise.generation_id}/cancel"
        answer = self.ask("cancel", "POST", path, (404, 409))
        if answer is not None and answer.is_success:
            with self.promises.lock:
                self.promises.cancelled.add(promise.generation_id)
            promise.ended = True

    def upload(self) -> None:
        """Bring an image, under a key, repeated until it is answered."""
        key = new_key()
        answer, _ = self.insist(
            "upload",
            "POST",
            f"{API}/projects/{self.account.project_id}/avatars/upload",
            (402, 409),
            files={"image": ("a.png", picture((64, 64), self.chance.randrange(2**16)), "image/png")},
            data={"name": key},
            headers={"Idempotency-Key": key},
        )
        if answer is not None and answer.is_success:
            avatar = answer.json()["avatar"]
            self.promises.made(self.account.user_id, key, avatar["id"])
            with self.promises.lock:
                self.promises.uploads[avatar["id"]] = self.account.user_id

    def delete_avatar(self) -> None:
        """Delete an avatar that was delivered."""
        promise = self._delivered()
        if promise is not None and promise.avatar_id:
            self._delete("avatars", promise.avatar_id, [promise])

    def delete_generation(self) -> None:
        """Delete a generation, ended or not. Its avatar stays."""
        promise = self._some(ended=None)
        if promise is not None:
            self._delete_generation(promise)

    def project_of_a_moment(self) -> None:
        """Create a project, have something drawn in it, and delete it."""
        answer = self.ask("create project", "POST", f"{API}/projects", json={"name": "A moment"})
        if answer is None or not answer.is_success:
            return
        project_id = answer.json()["project"]["id"]
        for _ in range(self.chance.randint(1, 2)):
            self.generate(project_id)
        time.sleep(self.chance.uniform(0, 2))
        within = [each for each in self.mine if each.project_id == project_id]
        self._delete("projects", project_id, within)

    def key_of_a_moment(self) -> None:
        """Issue a key, use it, revoke it: from then on it is refused."""
        answer = self.ask("create key", "POST", "/api/keys", (409,), json={"label": "a moment"})
        if answer is None or not answer.is_success:
            return
        token, key_id = answer.json()["token"], answer.json()["key"]["id"]
        with self.promises.lock:
            self.promises.secrets.add(token)
        self.ask("with a key", "GET", "/api/credits/balance", token=token)
        revoked, _ = self.insist("revoke key", "DELETE", f"/api/keys/{key_id}", (404,))
        if revoked is not None:
            refused = self.ask("with a revoked key", "GET", "/api/credits/balance", (401,), token=token)
            if refused is not None and refused.is_success:
                self.promises.violated("a revoked key was accepted")

    def change(self) -> None:
        """Change the project's or an avatar's name, or record a use of the avatar."""
        project = f"{API}/projects/{self.account.project_id}"
        self.ask("change project", "PUT", project, json={"description": "changed"})
        promise = self._delivered()
        if promise is not None:
            self.ask("change avatar", "PUT", f"{API}/avatars/{promise.avatar_id}", json={"name": "Eve"})
            use = {"appId": "chaos", "appName": "Chaos", "action": "shown"}
            self.ask("use", "POST", f"{API}/avatars/{promise.avatar_id}/usage", json=use)

    def repeat(self) -> None:
        """Leave in the middle of a request under a key, and repeat it: it is carried out once."""
        hang_up(self)

    def another_dialect(self) -> None:
        """Request an avatar as a client of another API does, which repeats without a key."""
        self.chance.choice([draw_by_openai, draw_by_fal])(self)

    def _delete(self, noun: str, id_: str, within: list[Promise]) -> None:
        """Delete something with the images of some generations in it."""
        ids = {id_, *(each.generation_id for each in within if noun == "projects")}
        with self.promises.lock:
            self.promises.doubtful |= ids | {each.avatar_id or "" for each in within}
        answer, lost = self.insist(f"delete {noun}", "DELETE", f"{API}/{noun}/{id_}", (404,))
        if answer is None:
            return
        if answer.status_code == 404 and not lost:
            self.promises.violated(f"{noun} {id_} is not found, and nobody deleted it")
        with self.promises.lock:
            self.promises.deleted |= ids
            if not lost:
                images = [each.delivered_image for each in within if each.delivered_image]
                self.promises.deleted_images |= {image.rsplit("/", 1)[1].split("-")[0] for image in images}

    def _delivered(self) -> Promise | None:
        return next((each for each in self.mine if each.avatar_id and not self._gone(each)), None)

    def _gone(self, promise: Promise) -> bool:
        return self.promises.may_be_gone(promise.avatar_id, promise.project_id)

    def _some(self, *, ended: bool | None) -> Promise | None:
        found = [
            each
            for each in self.mine
            if (ended is None or each.ended == ended)
            and not self.promises.may_be_gone(each.generation_id, each.project_id)
        ]
        return self.chance.choice(found) if found else None


def open_project(client: Client) -> None:
    """Give a client its project."""
    with suppress(KeyError):
        answer, _ = client.insist("create project", "POST", f"{API}/projects", json={"name": "Chaos"})
        assert answer is not None
        client.account.project_id = answer.json()["project"]["id"]
