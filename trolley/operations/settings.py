"""Settings of the operations service; environment prefix `OPERATIONS_`."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from messaging.settings import HttpSettings, service_settings
from trolley.runtime.home import default_home


class OperationsSettings(BaseSettings):
    """Where it listens and what it keeps; how the auditor looks is in `trolley.audit.settings`."""

    model_config = service_settings("OPERATIONS_")

    http_host: str = "127.0.0.1"
    http_port: int = Field(0, ge=0, le=65535, description="0 picks a free port.")
    requests_at_once: int = Field(
        4, ge=1, description="A story is read over a connection to each of four databases."
    )
    state_directory: Path = Field(
        default_factory=default_home,
        description="Where the findings are kept, and settings are read from.",
    )
    signing_key: SecretStr = Field(min_length=32, validation_alias="TROLLEY_SIGNING_KEY")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", validation_alias="LOG_LEVEL"
    )

    http: HttpSettings = Field(default_factory=HttpSettings)
