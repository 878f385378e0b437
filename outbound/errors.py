"""Refusals of the client: one class per cause. No message quotes a path, a query, a header or a body."""

import httpx2


class OutboundRefused(httpx2.TransportError):
    """The client refused an address or a response. A repetition would be refused too."""


class SchemeRefused(OutboundRefused):
    """The URL is neither https nor http to an allowed network."""

    def __init__(self, scheme: str) -> None:
        super().__init__("only https is fetched, and http from the networks in OUTBOUND_ALLOWED_NETWORKS")
        self.scheme = scheme


class AddressRefused(OutboundRefused):
    """The host is, or resolves to, an address that is not public. Nothing was sent to it."""

    def __init__(self, host: str, address: str) -> None:
        super().__init__(f"{host} has the address {address}, which OUTBOUND_ALLOWED_NETWORKS does not allow")
        self.host = host
        self.address = address


class ResponseTooLarge(OutboundRefused):
    """The body is larger than the client accepts."""

    def __init__(self, max_bytes: float) -> None:
        super().__init__(f"the response has more than {max_bytes:.0f} bytes")
        self.max_bytes = max_bytes


class EncodingRefused(OutboundRefused):
    """The body has a content encoding. None was asked for, and a decoded body has no bound."""

    def __init__(self, encoding: str) -> None:
        super().__init__("the response has a content encoding that was not asked for")
        self.encoding = encoding
