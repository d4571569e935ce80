"""A client of Breezeway over gRPC, with and without asyncio; streams of runs go on over lost connections."""

from breezeway.client.asynchronous import AsyncClient
from breezeway.client.channels import Tls
from breezeway.client.errors import BreezewayError
from breezeway.client.requests import Input
from breezeway.client.synchronous import Client

__all__ = ["AsyncClient", "BreezewayError", "Client", "Input", "Tls"]
