"""The shim's settings, from the environment."""

from functools import cached_property
from ipaddress import ip_address
from pathlib import Path

from aiohttp import web
from breezeway.telemetry.logs import LogFormat
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ShimSettings(BaseSettings):
    """Each field is read from `BREEZEWAY_` and its name in capitals."""

    model_config = SettingsConfigDict(env_prefix="BREEZEWAY_", frozen=True, extra="ignore")

    http_listen: str = Field(
        default="127.0.0.1:8642", pattern=r"^.+:\d{1,5}$", description="host:port to serve HTTP on"
    )
    http_reuse_port: bool = Field(
        default=False, description="whether other shims of the same user may listen on that port too, each for a share"
    )
    http_tls_cert: Path | None = Field(default=None, description="PEM file of the HTTP port's certificate chain")
    http_tls_key: Path | None = Field(default=None, description="PEM file of its key; with both the port speaks TLS")
    cors_origins: str = Field(
        default="", description="origins of web pages that may call, with commas between; `*` for all"
    )
    grpc_target: str = Field(
        default="127.0.0.1:50051", min_length=1, description="the server: host:port, or unix:/path of its socket"
    )
    grpc_ca: Path | None = Field(
        default=None, description="PEM file of whom to trust as the server, which is then called over TLS"
    )
    grpc_cert: Path | None = Field(default=None, description="PEM file of the certificate to show the server")
    grpc_key: Path | None = Field(default=None, description="PEM file of its key")
    log_format: LogFormat = Field(default="text", description="how log lines look: text for people, json for machines")
    access_log: bool = Field(default=True, description="whether the shim logs a line for each request")
    max_body_bytes: int = Field(default=32 * 1024 * 1024, ge=1, description="the largest request body, in bytes")
    http_max_bodies_bytes: int = Field(
        default=256 * 1024 * 1024,
        ge=0,
        description="bytes of request bodies over 64 KiB that wait for their answers to begin; more are answered 503",
    )
    http_max_connections: int = Field(
        default=10_000, ge=1, description="connections to a shim at once; more are answered 503"
    )
    http_header_seconds: float = Field(
        default=15.0, gt=0, description="how long the first line and the headers of a request may take"
    )
    http_body_seconds: float = Field(default=60.0, gt=0, description="how long a request's body may take after them")
    http_idle_seconds: float = Field(
        default=120.0, gt=0, description="how long a connection may be silent between two requests"
    )
    http_write_seconds: float = Field(
        default=120.0, gt=0, description="how long a client may take nothing of what it is sent; then it is cut off"
    )
    keepalive_seconds: float = Field(
        default=15.0, gt=0, description="how long a stream may be quiet before a comment is sent, in seconds"
    )
    reconnect_seconds: float = Field(
        default=30.0, ge=0, description="how long a server that was lost is waited for, in seconds"
    )

    @cached_property
    def origins(self) -> list[str]:
        """The origins of `cors_origins`."""
        return [origin for part in self.cors_origins.split(",") if (origin := part.strip().rstrip("/"))]

    @cached_property
    def listens_locally(self) -> bool:
        """Whether only this machine reaches `http_listen`."""
        host = self.http_address[0]
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    @property
    def http_address(self) -> tuple[str, int]:
        """Host, without the brackets of an IPv6 address, and port."""
        host, _, port = self.http_listen.rpartition(":")
        return host.removeprefix("[").removesuffix("]"), int(port)


SETTINGS = web.AppKey("settings", ShimSettings)
