"""Clients of other APIs, which repeat requests without a key: each is drawn and charged once all the same."""

import time
from uuid import uuid4

from tests.chaos.session import GENERATING, LATER, MARK, SCHNELL, TRIES, Session

NOT_DRAWN = 502
"""It was accepted and could not be drawn; what it held came back."""


def draw_by_openai(client: Session) -> None:
    """Ask as OpenAI's client does: it counts its repetitions, and waits for the image."""
    body = {"prompt": _prompt(), "model": SCHNELL, "response_format": "url"}
    for count in range(TRIES):
        answer = client.ask(
            "OpenAI",
            "POST",
            "/v1/images/generations",
            (*GENERATING, NOT_DRAWN),
            json=body,
            headers={"X-Stainless-Retry-Count": str(count)},
        )
        if answer is not None and answer.status_code not in LATER:
            return
        time.sleep(client.chance.uniform(0.1, 0.6))


def draw_by_fal(client: Session) -> None:
    """Submit as fal's client does: it repeats in silence. Then ask how far it is."""
    path = f"/fal/queue/avatar-creator/{SCHNELL.rpartition(':')[2]}"
    answer, _ = client.insist("fal", "POST", path, GENERATING, json={"prompt": _prompt()})
    if answer is None or not answer.is_success:
        return
    status = f"{path}/requests/{answer.json()['request_id']}/status"
    client.insist("fal status", "GET", status)


def _prompt() -> str:
    """Return a prompt that no other request has: what is drawn twice of it is seen."""
    return f"portrait of a person with a {MARK} once-{uuid4().hex}"
