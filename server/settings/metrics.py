"""The settings of what operators watch."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from server.settings.kinds import Group


class MetricsSettings(Group):
    """Where metrics are served, and how often the ledger is audited for them."""

    model_config = SettingsConfigDict(env_prefix="METRICS_")
    title = "Metrics"

    port: Annotated[int | None, Field(ge=0, le=65_535)] = Field(
        None,
        description="A port of its own on which each API process serves GET /metrics to whoever reaches it, "
        "without a token. 0: a free one, which the log names. Empty: no metrics are served.",
    )
    host: str = Field(
        "127.0.0.1",
        description="The address that METRICS_PORT listens on. 0.0.0.0: all of them, as in a container "
        "whose port is not published.",
    )
    ledger_audit_period_s: Annotated[float, Field(ge=0.05, allow_inf_nan=False)] = Field(
        3600,
        validation_alias="LEDGER_AUDIT_PERIOD_S",
        description="Seconds after the end of an audit of the ledger until the next one begins. One goes "
        "over all accounts, some in each REAPER_PERIOD_S.",
    )
