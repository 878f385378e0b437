"""Paths to images that a browser's `<img>` can open: unguessable, stable, without expiry."""

import hashlib
import hmac
import os
import secrets
from pathlib import Path
from typing import Final

from server.images.store import Variant

ROUTE: Final = "/uploads/avatar-creator"
SECRET_FILE: Final = "image-links.secret"  # noqa: S105  # the file's name, not what is in it
SECRET_BYTES: Final = 32
SIGNATURE_CHARS: Final = 32  # 128 bits in hexadecimal


class Links:
    """Signs and checks image paths with a secret that all processes share."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def path(self, key: str, variant: Variant) -> str:
        """Return the path of an image's file."""
        return f"{ROUTE}/{key}-{self._signature(key, variant)}.{variant}"

    def open(self, name: str) -> tuple[str, Variant] | None:
        """Return the key and variant behind a path's last part, None if its signature is not ours."""
        stem, _, ending = name.rpartition(".")
        key, _, signature = stem.rpartition("-")
        if ending not in set(Variant):
            return None
        variant = Variant(ending)
        if not hmac.compare_digest(signature.encode(), self._signature(key, variant).encode()):
            return None
        return key, variant

    def _signature(self, key: str, variant: Variant) -> str:
        digest = hmac.new(self._secret, f"{key}.{variant}".encode(), hashlib.sha256)
        return digest.hexdigest()[:SIGNATURE_CHARS]


def shared_secret(data_dir: Path) -> bytes:
    """Return the secret of a data folder. The first process that needs it makes it."""
    path = data_dir / SECRET_FILE
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        # Written to another file first and then linked: nobody reads half a secret, and the first one wins.
        aside = path.with_suffix(f".{secrets.token_hex(8)}")
        aside.touch(mode=0o600)
        aside.write_bytes(secrets.token_bytes(SECRET_BYTES))
        try:
            os.link(aside, path)
        except FileExistsError:
            pass
        finally:
            aside.unlink()
    return path.read_bytes()
