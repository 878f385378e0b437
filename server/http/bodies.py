"""What all bodies of requests and answers have in common."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    field_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from catalog.prompts import fold
from server.clock import wire


class Request(BaseModel):
    """A request body: camelCase on the wire, types as JSON has them, unknown fields ignored."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="ignore",
        strict=True,
        frozen=True,
        hide_input_in_errors=True,
    )

    def changes(self) -> dict[str, Any]:
        """Return the fields that the request named, by their names here: those that a PUT changes."""
        return self.model_dump(exclude_unset=True)

    @field_validator("*")
    @classmethod
    def _without_nul(cls, value: Any) -> Any:
        # PostgreSQL stores no NUL; refused here, none can fail a delivery after it was accepted.
        texts = value if isinstance(value, list) else [value]
        if any(isinstance(text, str) and "\0" in text for text in texts):
            raise PydanticCustomError("nul", "Text must not contain the character NUL")
        return value


def examples(*bodies: dict[str, Any]) -> ConfigDict:
    """Return the configuration of a body that the OpenAPI document shows examples of."""
    return ConfigDict(json_schema_extra={"examples": list(bodies)})


class View(BaseModel):
    """An answer body, read from a row's attributes."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        from_attributes=True,
        populate_by_name=True,
        json_schema_serialization_defaults_required=True,  # what has a default is answered all the same
    )


class Message(View):
    """What was done, in words."""

    message: str


def _folded(text: Any) -> Any:
    """Trim a text and fold its runs of white space to one blank; leave anything else to its type."""
    return fold(text) if isinstance(text, str) else text


WireTime = Annotated[
    datetime,
    PlainSerializer(wire, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]
Fold = BeforeValidator(_folded)
Name = Annotated[str, Field(min_length=1, max_length=100), Fold]
Word = Annotated[str, Field(max_length=50)]
