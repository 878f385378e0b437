"""The settings of the APIs of others."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode, SettingsConfigDict

from server.settings.kinds import Group, Switch


def _named(value: Any) -> Any:
    """Read `name=entry, name=entry`."""
    if not isinstance(value, str):
        return value
    pairs = [pair.partition("=") for pair in value.split(",")]
    if not all(name.strip() and entry.strip() for name, _, entry in pairs):
        raise ValueError("pairs of name=entry, separated by commas")
    return {name.strip(): entry.strip() for name, _, entry in pairs}


class DialectSettings(Group):
    """Which APIs of others are answered, beside OpenAI's."""

    title = "The APIs of others"

    huggingface_api: Switch = Field(
        "on", description="Hugging Face's text to image, under /models; off answers nothing there."
    )
    replicate_api: Switch = Field(
        "on", description="Replicate's predictions, under /v1; off answers nothing of them."
    )
    fal_api: Switch = Field("on", description="fal's queue and runs, under /fal; off answers nothing there.")
    a1111_api: Switch = Field(
        "on", description="A1111's API, as Open WebUI uses it, under /sdapi/v1; off answers nothing there."
    )


class OpenAISettings(Group):
    """What clients of OpenAI's API of images find under /v1."""

    model_config = SettingsConfigDict(env_prefix="OPENAI_")
    title = "OpenAI's API of images"

    api: Switch = Field("on", description="off answers nothing under /v1.")
    models: Annotated[Mapping[str, str], NoDecode, BeforeValidator(_named)] = Field(
        default_factory=dict,
        description="Names of models that clients have in their code, and the entries that they mean here, "
        "such as gpt-image-1=flux-dev-realism, dall-e-3=flux-dev-hd-realism.",
    )
