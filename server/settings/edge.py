"""What one connection, one address and all of them may take of an API process."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from server.settings.kinds import WHOLE, Count, Group

PositiveSeconds = Annotated[float, Field(ge=0.1, allow_inf_nan=False)]


class EdgeSettings(Group):
    """Bounds of connections: what clients send before anybody knows who they are."""

    model_config = SettingsConfigDict(env_prefix="HTTP_")
    title = "Connections to one API process"

    max_header_bytes: Annotated[int, Field(ge=1024, le=WHOLE)] = Field(
        32_768,
        description="Bytes of a request's first line and headers; beyond it, 431. It bounds the trailers and "
        "chunk extensions of a body as well.",
    )
    max_headers: Count = Field(100, description="Headers of a request; beyond it, 431.")
    header_timeout_s: PositiveSeconds = Field(
        10,
        description="Seconds from a connection or a request's first byte to the end of its headers.",
    )
    stall_timeout_s: PositiveSeconds = Field(
        20,
        description="Seconds over which HTTP_MIN_BYTES_PER_S is measured; who falls behind is cut off.",
    )
    min_bytes_per_s: Count = Field(
        4096, description="Bytes a second at which a client must send a body and read an answer."
    )
    max_unread_bytes: Count = Field(
        67_108_864,
        description="Bytes of answers that wait in memory for clients to read them, of all together; beyond "
        "it, those that wait with the most are dropped.",
    )
    max_connections: Count = Field(
        2000,
        description="Connections at once, streams included. Fewer if the system allows fewer open files: 128 "
        "of them are kept for databases and images. Beyond it, the idle or half-open one that has waited "
        "longest is closed, or the new one gets 503.",
    )
    max_connections_per_address: Count = Field(
        200,
        description="Connections of one address (IPv6: of one /64), but at most half of all; beyond it, 429. "
        "TRUSTED_PROXIES may have any number.",
    )
