"""Clients that leave: in the middle of a request's head, of its body, or before they have read the answer."""

import json
import socket
import struct
from urllib.parse import urlsplit

from tests.chaos.session import GENERATING, MARK, SCHNELL, Session, new_key

RESET = struct.pack("ii", 1, 0)
"""Closing sends a reset, and not the end of the stream."""


def hang_up(client: Session) -> None:
    """Leave at a point that chance chooses; repeat the request with the same key as a client does."""
    key, where = new_key(), client.chance.choice(["head", "body", "answer"])
    body = {"name": key, "prompt": f"portrait with a {MARK}", "modelKey": SCHNELL, "seed": 7}
    path = f"/api/avatar-creator/projects/{client.account.project_id}/avatars/generate"
    address = urlsplit(client.chance.choice(client.urls))
    try:
        with socket.create_connection((str(address.hostname), address.port or 80), timeout=5) as connection:
            if client.chance.random() < 0.5:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            connection.sendall(_part(where, path, json.dumps(body).encode(), key, client.account.token))
            if where == "answer" and client.chance.random() < 0.5:
                connection.recv(1)
    except OSError:
        client.promises.count("lost: refused while hanging up")
    client.promises.count(f"hung up in mid-{where}")
    allowed = (*GENERATING, 409)
    headers = {"Idempotency-Key": key}
    answer, _ = client.insist("repeated", "POST", path, allowed, json=body, headers=headers)
    if answer is not None and answer.is_success:
        client.accepted(answer.json(), key, client.account.project_id)
        again = client.ask("repeated", "POST", path, allowed, json=body, headers=headers)
        if again is not None and again.is_success:
            client.promises.made(client.account.user_id, key, again.json()["generation"]["id"])


def _part(where: str, path: str, body: bytes, key: str, token: str) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: chaos\r\nAuthorization: Bearer {token}\r\n"
        f"Idempotency-Key: {key}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    return {"head": head[: len(head) // 2], "body": head + body[: len(body) // 2], "answer": head + body}[
        where
    ]
