"""A user's connection to the APIs: requests, what answers are allowed, and what they promise."""

import random
import time
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx

from tests.chaos.promises import Promise, Promises

API = "/api/avatar-creator"
TIMEOUT_S = 20
TRIES = 12
"""How often a request is repeated whose answer was lost or that shall come again later."""
SCHNELL = "avatar-creator:flux-schnell-fast"
MARK = "violet-heron"
"""A word of every prompt, which no log may contain."""
LATER = (429, 503)
GENERATING = (402, 403, 404)
"""Too few credits; a tier that was taken away; no entry that is enabled."""
DISABLED = "modelKey is no available model"
"""What the answer 400 says of an entry that an operator has disabled."""


NAMES = {"generate": "name", "from-preset": "customName"}
"""The field of a body that names the avatar. It is the key: what is made twice under one key is seen."""


def new_key() -> str:
    """Return a new idempotency key."""
    return f"key-{uuid4().hex}"


@dataclass
class Account:
    """A user of the load. project_id: the one that is never deleted."""

    user_id: str
    tier: str
    token: str
    project_id: str = ""


class Session:
    """Sends requests for one user, to either API by chance. Only one thread uses it at a time."""

    def __init__(self, account: Account, urls: list[str], promises: Promises, seed: str) -> None:
        self.account = account
        self.urls = urls
        self.promises = promises
        self.chance = random.Random(seed)
        self.mine: list[Promise] = []
        self._http = httpx.Client(timeout=TIMEOUT_S, trust_env=False)

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def ask(
        self,
        what: str,
        method: str,
        path: str,
        allowed: tuple[int, ...] = (),
        token: str | None = None,
        **request: Any,
    ) -> httpx.Response | None:
        """Send one request to either API; return its answer, None if it was lost.

        An answer beside success, `allowed`, 429 and 503 is a violation.
        """
        headers = {"Authorization": f"Bearer {token or self.account.token}"} | request.pop("headers", {})
        began = time.monotonic()
        try:
            url = self.chance.choice(self.urls) + path
            answer = self._http.request(method, url, headers=headers, **request)
        except httpx.TransportError as error:
            self.promises.count(f"lost: {type(error).__name__}")
            return None
        with self.promises.lock:
            self.promises.samples.append((began, time.monotonic() - began, what, answer.status_code))
        expected = answer.is_success or answer.status_code in (*allowed, *LATER)
        if not expected and not (allowed[:3] == GENERATING and DISABLED in answer.text):
            self.promises.violated(f"{what} was answered with {answer.status_code}: {answer.text[:200]}")
        return answer

    def insist(
        self, what: str, method: str, path: str, allowed: tuple[int, ...] = (), **request: Any
    ) -> tuple[httpx.Response | None, int]:
        """Repeat a request until it is answered; return the answer, and how many before were lost."""
        lost = 0
        for _ in range(TRIES):
            answer = self.ask(what, method, path, allowed, **request)
            if answer is not None and answer.status_code not in LATER:
                return answer, lost
            lost += answer is None or answer.status_code == 503
            time.sleep(self.chance.uniform(0.1, 0.6))
        return None, lost

    def submit(
        self, what: str, path: str, body: dict[str, Any], *, keyed: bool, project_id: str | None = None
    ) -> Promise | None:
        """Send a request for an avatar and record what it was told; repeat it if it has a key."""
        key = new_key() if keyed else None
        if key is not None:
            body = body | {NAMES[what]: key}
        if key is None:
            answer = self.ask(what, "POST", path, GENERATING, json=body)
        else:
            headers = {"Idempotency-Key": key}
            answer, _ = self.insist(what, "POST", path, (*GENERATING, 409), json=body, headers=headers)
        if answer is None or not answer.is_success:
            return None
        said = answer.json()
        made = self.accepted(said, key, project_id or self.account.project_id)
        if key is not None and self.chance.random() < 0.3:
            again = self.ask(what, "POST", path, (409,), json=body, headers={"Idempotency-Key": key})
            if again is not None and again.is_success:
                self.promises.made(self.account.user_id, key, again.json()["generation"]["id"])
        return made

    def accepted(self, said: Any, key: str | None, project_id: str) -> Promise:
        """Record the answer to a request that was accepted."""
        generation = said["generation"]
        self.promises.made(self.account.user_id, key, generation["id"])
        promise = Promise(generation["id"], self.account.user_id, project_id, said["creditUsed"])
        with self.promises.lock:
            promise = self.promises.generations.setdefault(promise.generation_id, promise)
        self.mine.append(promise)
        return promise
