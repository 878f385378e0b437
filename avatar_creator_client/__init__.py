"""The client of an avatar-creator server: `Client`, and `AsyncClient` for asyncio.

It needs httpx, and nothing else of the server's.
"""

from avatar_creator_client.async_client import AsyncClient
from avatar_creator_client.client import Client
from avatar_creator_client.errors import (
    AccessDenied,
    ApiError,
    AvatarCreatorError,
    Conflict,
    GenerationFailed,
    InputInvalid,
    InsufficientCredits,
    NotAuthenticated,
    NotFound,
    RateLimited,
    ServerFailed,
    Unavailable,
    Unreachable,
    WaitedTooLong,
)
from avatar_creator_client.records import Generation, Progress, Project, Quote
from avatar_creator_client.wish import Wish

__all__ = [
    "AccessDenied",
    "ApiError",
    "AsyncClient",
    "AvatarCreatorError",
    "Client",
    "Conflict",
    "Generation",
    "GenerationFailed",
    "InputInvalid",
    "InsufficientCredits",
    "NotAuthenticated",
    "NotFound",
    "Progress",
    "Project",
    "Quote",
    "RateLimited",
    "ServerFailed",
    "Unavailable",
    "Unreachable",
    "WaitedTooLong",
    "Wish",
]
