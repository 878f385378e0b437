"""Rate limits: of users on routes marked `rate_limit`, of addresses where no user answers for a request."""

from typing import Any, Final

from limits import RateLimitItem, parse
from litestar.concurrency import sync_to_thread
from litestar.connection import ASGIConnection
from litestar.enums import HttpMethod, ScopeType
from litestar.handlers import BaseRouteHandler
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from server.errors import DomainError
from server.http.addresses import address_of
from server.http.errors import RateLimitExceeded, describe
from server.http.limiter import Count, Limiter
from server.logs import get_log
from server.settings import Settings

log = get_log(__name__)

MARK: Final = "rate_limit"
"""The handler option that names the limit of a route's users."""

EXEMPT: Final = "exempt"
"""The mark of public routes that no address is limited on."""

ANONYMOUS, FAILED = "anonymous", "failed_authentications"
GENERATE, QUOTES = "generate", "quotes"
USER_LIMITS: Final = {
    GENERATE: "generations",
    QUOTES: "dry runs",
    "upload": "uploads",
    "from_preset": "generations by a preset",
    "projects": "new projects",
}
ADDRESS_LIMITS: Final = {ANONYMOUS: "requests without a token", FAILED: "failed authentications"}
"""The limits by name, and what each counts."""

HEADERS: Final = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
"""The limit, what it still allows, and the unix time in whole seconds when it allows one more."""

UNAUTHORIZED: Final = 401
FORWARDED: Final = b"x-forwarded-for"
_COUNT: Final = "rate_limit_count"


class RateLimits:
    """The limits of an API process. RATE_LIMITS=off leaves none."""

    def __init__(self, settings: Settings) -> None:
        self._limiter = Limiter(settings)
        self._rates = {name: parse(rate) for name, rate in settings.rate_limits.rates.items()}
        self._proxies_known = bool(settings.server.trusted_proxies)

    async def count(self, scope: Scope, name: str, whose: str) -> None:
        """Count a request against a limit; its answer then has the limit's headers.

        Raises:
            RateLimitExceeded: it is one too many.

        """
        rate = self._rates.get(name)
        if rate is not None:
            _judge(scope, name, rate, await sync_to_thread(self._limiter.hit, rate, name, whose))

    def refuse_again(self, scope: Scope, name: str, whose: str) -> None:
        """Refuse a request while an earlier refusal stands; count nothing.

        Raises:
            RateLimitExceeded: one stands.

        """
        rate = self._rates.get(name)
        if rate is not None and (refusal := self._limiter.refusal(name, whose)) is not None:
            _judge(scope, name, rate, refusal)

    def warn_of_proxy(self, scope: Scope) -> None:
        """Log once if a proxy forwards requests and TRUSTED_PROXIES is empty: all clients count as one."""
        if self._proxies_known or not self._rates or not _has_header(scope, FORWARDED):
            return
        self._proxies_known = True
        log.warning("rate_limits.proxy_not_trusted", proxy=address_of(scope), setting="TRUSTED_PROXIES")


async def limit_user(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Count a request of an authenticated user to a marked route, whatever its answer will be.

    Raises:
        RateLimitExceeded: it is one too many.

    """
    if (name := handler.opt.get(MARK)) in USER_LIMITS:
        if name == GENERATE and set(connection.query_params.getall("dryRun", [])) == {"true"}:
            name = QUOTES  # any other spelling of it counts as a generation
        limits: RateLimits = connection.app.state.rate_limits
        await limits.count(connection.scope, name, connection.user.user_id)


def limit_address(app: ASGIApp) -> ASGIApp:
    """Count what no user answers for by its address: requests without a token, and failed authentications.

    An address with too many failures is refused before the database is asked.
    """

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] != ScopeType.HTTP
            or scope["method"] == HttpMethod.OPTIONS
            or _opt(scope, MARK) == EXEMPT
        ):
            await app(scope, receive, send)
            return
        limits: RateLimits = scope["litestar_app"].state.rate_limits
        limits.warn_of_proxy(scope)
        address = address_of(scope)
        if _opt(scope, "public") or not _has_header(scope, b"authorization"):
            await limits.count(scope, ANONYMOUS, address)
            await app(scope, receive, send)
            return
        limits.refuse_again(scope, FAILED, address)
        try:
            await app(scope, receive, send)
        except DomainError as error:  # of the authentication: a handler's error is an answer by now
            if describe(error).status == UNAUTHORIZED:
                await limits.count(scope, FAILED, address)
            raise

    return middleware


async def add_rate_limit(message: Message, scope: Scope) -> None:
    """Add the state of the limit that has counted its request to an answer."""
    count: Count | None = scope["state"].get(_COUNT)
    if count is not None and message["type"] == "http.response.start":
        values = (count.limit, count.remaining, int(count.reset_at) + 1)
        pairs = zip(HEADERS, values, strict=True)
        added = [(name.lower().encode(), str(value).encode()) for name, value in pairs]
        message["headers"] = [*message["headers"], *added]


def _judge(scope: Scope, name: str, rate: RateLimitItem, count: Count) -> None:
    scope["state"][_COUNT] = count
    if not count.allowed:
        period = rate.GRANULARITY.name
        words = f"{rate.amount} {(USER_LIMITS | ADDRESS_LIMITS)[name]} per {period}"
        raise RateLimitExceeded(words, count.retry_after_s)


def _opt(scope: Scope, name: str) -> Any:
    return scope["route_handler"].opt.get(name)


def _has_header(scope: Scope, name: bytes) -> bool:
    return any(header == name for header, _ in scope["headers"])
