"""The gate in front of every call: it finds out who calls, and whether they may."""

from functools import cache
from typing import Final

from breezeway.v1 import (
    agent_registry_service_pb2,
    key_pb2,
    key_service_pb2,
    operations_service_pb2,
    stream_service_pb2,
)
from grpc_health.v1 import health

from breezeway_server.errors import PermissionDenied
from breezeway_server.services.caller import ALL_SCOPES, NOBODY, Caller
from breezeway_server.services.keyring import KeyRing, Metadata

# What the shim adds where a call did not come from this machine, or was not meant for it.
NOT_LOCAL: Final = "x-breezeway-not-local"

_PACKAGE = "breezeway.v1."
_AGENTS = agent_registry_service_pb2.DESCRIPTOR.services_by_name["AgentRegistryService"].full_name
_KEYS = key_service_pb2.DESCRIPTOR.services_by_name["KeyService"].full_name
_OPERATIONS = operations_service_pb2.DESCRIPTOR.services_by_name["OperationsService"].full_name
_STREAMS = stream_service_pb2.DESCRIPTOR.services_by_name["StreamService"].full_name

STREAM_RUN: Final = f"/{_STREAMS}/StreamRun"
# Its starts are checked one by one, each as the StreamRun that it is.
_MULTIPLEX_RUNS = f"/{_STREAMS}/MultiplexRuns"
_READS = ("Get", "List", "Follow", "Count")

_Scopes = frozenset[key_pb2.KeyScope.ValueType]
_ADMIN: _Scopes = frozenset({key_pb2.KEY_SCOPE_ADMIN})


@cache
def scopes_for(method: str) -> _Scopes | None:
    """Return the scopes of which a caller of `/service/Method` needs one; None where it is open to everybody.

    What is not known is for operators: a service that is forgotten here must not be open.
    """
    service, _, name = method.removeprefix("/").partition("/")
    if service == health.SERVICE_NAME or method == _MULTIPLEX_RUNS:
        return None
    if service in {_KEYS, _OPERATIONS} or not service.startswith(_PACKAGE):
        return _ADMIN
    if service == _AGENTS:
        # Profiles tell of upstreams and instructions, which are the operator's matter.
        return ALL_SCOPES if name in {"GetAgent", "ListAgents"} else _ADMIN
    return frozenset({key_pb2.KEY_SCOPE_READ if name.startswith(_READS) else key_pb2.KEY_SCOPE_RUN})


class Gate:
    """Lets callers in by their keys; where there are none, everybody who is on this machine."""

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys

    def admit(self, method: str, metadata: Metadata) -> Caller:
        """Return who calls `/service/Method`. Raises `Unauthenticated` and `PermissionDenied`."""
        needed = scopes_for(method)
        if needed is None:
            return NOBODY
        if not self._keys.guarded:
            _check_local(metadata)
            return self._keys.everybody
        caller = self._keys.identify(metadata)
        if needed.isdisjoint(caller.scopes):
            names = " or ".join(sorted(key_pb2.KeyScope.Name(scope).removeprefix("KEY_SCOPE_") for scope in needed))
            raise PermissionDenied("SCOPE_MISSING", f"This needs a key with the scope {names}.")
        if needed is _ADMIN and not caller.operator and not method.startswith(f"/{_KEYS}/"):
            # Agents, reflection and channelz are the server's, and not a tenant's.
            raise PermissionDenied("TENANT_DENIED", "This is for the operator: an admin of the tenant default.")
        return caller


def _check_local(metadata: Metadata) -> None:
    for name, value in metadata:
        if name == NOT_LOCAL:
            message = f"This server has no keys and so serves its own machine alone ({value!s:.100}); create a key."
            raise PermissionDenied("CALLER_NOT_LOCAL", message)
