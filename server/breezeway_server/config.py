"""The server's settings: flags first, then the environment, then the `[server]` table of the TOML file."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from breezeway.telemetry.logs import LogFormat
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from breezeway_server.agents.errors import ConfigError
from breezeway_server.engine.limits import Limits
from breezeway_server.engine.quota import Rates

# What no person and no team behind one key comes near, and a program that runs wild does.
_KEY_MAX_RUNS = 1000
_KEY_REQUESTS_PER_MINUTE = 6000
# The largest that a request can say, too.
_MOST = 2**32 - 1


def _data_dir() -> Path:
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "breezeway"


class ServerSettings(BaseSettings):
    """Each field is read from `BREEZEWAY_` and its name in capitals, or from the file's `[server]` table."""

    model_config = SettingsConfigDict(env_prefix="BREEZEWAY_", frozen=True, extra="ignore")

    data_dir: Path = Field(default_factory=_data_dir, description="where the store lies; one server at a time")
    grpc_listen: str = Field(
        default="127.0.0.1:50051", pattern=r"^.+:\d{1,5}$", description="host:port to serve gRPC on"
    )
    grpc_socket: Path | None = Field(default=None, description="a unix socket to serve gRPC on too")
    grpc_tls_cert: Path | None = Field(default=None, description="PEM file of the gRPC port's certificate chain")
    grpc_tls_key: Path | None = Field(default=None, description="PEM file of its key; with both the port speaks TLS")
    grpc_tls_client_ca: Path | None = Field(
        default=None, description="PEM file of whom to trust; gRPC clients must then show a certificate"
    )
    grpc_keepalive_seconds: float = Field(
        default=60.0, gt=0, description="how long a gRPC connection may be silent before its client is asked for a sign"
    )
    grpc_max_connection_age_seconds: float | None = Field(
        default=None,
        gt=0,
        description="how old a gRPC connection may grow, so that balancers can move it; unset: any age",
    )
    grpc_max_connection_age_grace_seconds: float = Field(
        default=60.0, ge=0, description="how long streams of such a connection may go on; then they resume elsewhere"
    )
    api_keys: SecretStr | None = Field(
        default=None, description="keys that may do everything, with commas between; more come from `breezeway keys`"
    )
    metrics_listen: str | None = Field(
        default=None,
        pattern=r"^.+:\d{1,5}$",
        description="host:port to answer `GET /metrics` on, to whoever asks; unset: over gRPC and the shim alone",
    )
    log_format: LogFormat = Field(default="text", description="how log lines look: text for people, json for machines")
    shims: int = Field(
        default=1, ge=1, le=64, description="how many shims `breezeway serve` keeps, which share the HTTP port"
    )
    synchronous: Literal["NORMAL", "FULL"] = Field(
        default="NORMAL", description="FULL: a commit survives a power cut too, at about 1 ms each"
    )
    store_patience_seconds: float = Field(
        default=30.0, ge=0, description="how long a store that cannot write is tried again before runs are interrupted"
    )
    drain_seconds: float = Field(default=20.0, ge=0, description="how long runs may go on after SIGTERM")
    max_runs: int = Field(default=2000, ge=1, description="runs under way at once; more are refused")
    max_queued_runs: int = Field(
        default=50, ge=0, description="runs of one conversation that may wait for their turn; more are refused"
    )
    max_run_seconds: float = Field(default=3600.0, gt=0, description="how long one run may take")
    max_run_tokens: int | None = Field(
        default=None,
        ge=1,
        le=_MOST,
        description="tokens that one run may use; it ends incomplete before its next model call; unset: any number",
    )
    max_output_bytes: int = Field(
        # One item is one event, and gRPC clients take messages of 4 MiB unless they are told otherwise.
        default=3 * 1024 * 1024,
        ge=1,
        description="how much one run may bring forth; it ends incomplete there",
    )
    key_max_runs: int | None = Field(
        default=None,
        ge=0,
        le=_MOST,
        description="runs of one key under way at once; 0: any number; unset: 1000, and any number without keys",
    )
    key_requests_per_minute: int | None = Field(
        default=None,
        ge=0,
        le=_MOST,
        description="runs that one key may create in a minute; 0: any number; unset: 6000, and any number without keys",
    )
    key_tokens_per_minute: int | None = Field(
        default=None,
        ge=0,
        le=_MOST,
        description="tokens that the runs of one key may use in a minute; 0 or unset: any number",
    )
    max_message_bytes: int = Field(default=64 * 1024 * 1024, ge=1, description="the largest gRPC request")
    max_attempts: int = Field(
        default=20, ge=1, description="how often a run may lose its server before it is given up; drains do not count"
    )
    memory_run_seconds: float = Field(
        default=300.0, ge=0, description="how long a run of MEMORY durability can be read after its end"
    )
    memory_run_bytes: int = Field(
        default=64 * 1024 * 1024, ge=0, description="how much all of those may hold; the oldest go first"
    )
    log_retention_seconds: float = Field(
        default=7 * 86400.0, ge=0, description="how long the events of a stored run are kept after its end"
    )
    request_id_retention_seconds: float = Field(
        default=86400.0, ge=0, description="how long a request id (Idempotency-Key) is remembered"
    )
    secret_key: SecretStr | None = Field(
        default=None,
        min_length=32,
        description="what the secrets of agents made over the API are encrypted with, 32 characters or more of chance",
    )

    @property
    def plain_keys(self) -> list[str]:
        """The keys of `api_keys`."""
        text = self.api_keys.get_secret_value() if self.api_keys is not None else ""
        return [key for part in text.split(",") if (key := part.strip())]

    def limits(self) -> Limits:
        """Return what the engine keeps to."""
        return Limits(
            max_runs=self.max_runs,
            run_seconds=self.max_run_seconds,
            output_bytes=self.max_output_bytes,
            memory_run_seconds=self.memory_run_seconds,
            memory_run_bytes=self.memory_run_bytes,
            log_seconds=self.log_retention_seconds,
            request_seconds=self.request_id_retention_seconds,
            queued_runs=self.max_queued_runs,
            run_tokens=self.max_run_tokens,
            max_attempts=self.max_attempts,
        )

    def key_rates(self) -> Rates:
        """Return the limits of keys that have none of their own."""
        return self._rates(max_runs=_KEY_MAX_RUNS, requests_per_minute=_KEY_REQUESTS_PER_MINUTE)

    def open_rates(self) -> Rates:
        """Return the limits of all callers together while there are no keys."""
        return self._rates(max_runs=0, requests_per_minute=0)

    def _rates(self, *, max_runs: int, requests_per_minute: int) -> Rates:
        runs = max_runs if self.key_max_runs is None else self.key_max_runs
        requests = requests_per_minute if self.key_requests_per_minute is None else self.key_requests_per_minute
        return Rates(
            max_runs=runs or None,
            requests_per_minute=requests or None,
            tokens_per_minute=self.key_tokens_per_minute or None,
        )


def load_settings(table: Mapping[str, Any], flags: Mapping[str, Any], source: str) -> ServerSettings:
    """Return the settings. Raises `ConfigError` that names each key at fault; `source` is where `table` is from."""
    unknown = unknown_settings(table, ServerSettings, f"{source}: server")

    class Configured(ServerSettings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's interface
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's interface
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return init_settings, env_settings, InitSettingsSource(settings_cls, init_kwargs=dict(table))

    try:
        settings = Configured(**flags)
    except ValidationError as error:
        raise ConfigError("\n".join([*unknown, *settings_faults(error, flags, f"{source}: server")])) from error
    if unknown:
        raise ConfigError("\n".join(unknown))
    return settings


def unknown_settings(table: Mapping[str, Any], settings: type[BaseSettings], place: str) -> list[str]:
    """A fault for each key of the file's `table` that is none of the settings."""
    unknown = sorted(set(table) - set(settings.model_fields))
    return [f"{place}.{name}: is not a setting; remove it or correct its spelling." for name in unknown]


def settings_faults(error: ValidationError, flags: Mapping[str, Any], place: str) -> list[str]:
    """What is wrong with each value, named by the flag, the variable or the key of `place` that it came from."""
    faults = []
    for detail in error.errors(include_url=False):
        name = str(detail["loc"][0])
        variable = f"BREEZEWAY_{name.upper()}"
        where = variable if variable in os.environ else f"{place}.{name}"
        if name in flags:
            where = f"--{name.replace('_', '-')}"
        # The only patterns are those of addresses.
        message = "must be host:port" if detail["type"] == "string_pattern_mismatch" else detail["msg"]
        faults.append(f"{where}: {message}.")
    return faults
