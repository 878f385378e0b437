"""Session tokens, signed as the existing platform signs them."""

import time

import jwt

SESSION_SECRET = "the-platforms-secret-of-32-bytes"  # noqa: S105  # of the tests
HOUR_S = 3600


def signed(user_id="platform-1", *, secret=SESSION_SECRET, algorithm="HS256", header=None, **claims):
    """Return a token for a user that is valid for an hour; a claim that is changed to None is left out."""
    moment = int(time.time())
    all_claims = {
        "userId": user_id,
        "email": "ada@example.com",
        "iat": moment,
        "exp": moment + HOUR_S,
    } | claims
    kept = {name: value for name, value in all_claims.items() if value is not None}
    return jwt.encode(kept, secret, algorithm=algorithm, headers=header)


def bearer(token):
    """Return the headers of a request with a token."""
    return {"Authorization": f"Bearer {token}"}
