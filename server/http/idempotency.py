"""Requests that spend: the same request under the same Idempotency-Key spends once."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final, Generic, TypeVar, cast

from litestar import Response
from litestar.params import HeaderParameter
from pydantic import BaseModel

from server.db.unit_of_work import Transaction
from server.http.bodies import View
from server.http.request import ApiRequest
from server.http.services import Services
from server.idempotency.repository import KeptAnswers, KeyedRequest

REPLAYED: Final = "Idempotency-Replayed"
"""A header of an answer that was kept. Source: Stripe names its own so."""

V = TypeVar("V", bound=View)

IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="1 to 255 printable ASCII characters without a blank. For 24 hours, the same request "
        "with the same key gets the first answer again and spends nothing.",
    ),
]


@dataclass(frozen=True)
class Spent(Generic[V]):
    """What a request that spends has done in its transaction. committed: called after the commit."""

    answer: V
    committed: Callable[[], object] = lambda: None


def spend_once(
    services: Services,
    request: ApiRequest,
    key: str | None,
    data: BaseModel,
    spend: Callable[[Transaction], Spent[V]],
) -> Response[V]:
    """Spend in one transaction and keep the answer under the key, or return the answer that is kept.

    data: what makes two requests equal, beside their path. An error of `spend` frees the key.

    Raises:
        KeyReused, KeyInFlight: see there.

    """
    keyed = None if key is None else _keyed(request, key, data)
    with services.uow.begin() as tx:
        if keyed and (kept := KeptAnswers(tx).find(keyed)) is not None:
            return _response(kept, {REPLAYED: "true"})
        spent = spend(tx)
        answer = spent.answer.model_dump_json(by_alias=True).encode()
        if keyed:
            KeptAnswers(tx).keep(keyed, answer)
    spent.committed()
    return _response(answer, {})


def _keyed(request: ApiRequest, key: str, data: BaseModel) -> KeyedRequest:
    # The handler and not the path: both prefixes lead to the same handler.
    handler, ids = str(request.route_handler), request.path_params
    digest = hashlib.sha256(f"{handler} {ids} {data.model_dump_json()}".encode())
    return KeyedRequest(request.user.user_id, key, digest.hexdigest())


def _response(answer: bytes, headers: dict[str, str]) -> Response[V]:
    # Bytes are sent as they are, so that an answer is the same each time; the type is for the OpenAPI schema.
    return Response(cast("V", answer), media_type="application/json", headers=headers)
