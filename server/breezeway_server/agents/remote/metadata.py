"""What a call says about its run beside the request: for meshes and traces, which do not read messages."""

from urllib.parse import quote

from breezeway.telemetry.traces import Carrier, current_span
from breezeway.v1 import agent_service_pb2

Metadata = tuple[tuple[str, str], ...]

# Proxies cap all metadata of a call at 8 KiB.
_LONGEST_USER = 1024


def metadata_of_agent(agent: str) -> Metadata:
    """The metadata of every call to the agent of that name."""
    return (("breezeway-agent", agent),)


def metadata_of_run(agent: str, tenant: str, request: agent_service_pb2.RunRequest) -> Metadata:
    """The metadata of Run, as the contract lists it."""
    pairs = [
        *metadata_of_agent(agent),
        ("breezeway-run-id", request.run_id),
        ("breezeway-attempt", str(request.attempt)),
        ("breezeway-tenant", tenant),
    ]
    if request.spec.key_id:
        pairs.append(("breezeway-key", request.spec.key_id))
    user = quote(request.spec.user, safe="")
    if user and len(user) <= _LONGEST_USER:
        pairs.append(("breezeway-user", user))
    # The run's place is in its log, so that a run that was queued or taken up again is still in its caller's trace.
    carrier = current_span().carrier
    if not carrier.traceparent:
        notes = request.spec.metadata
        carrier = Carrier.of(notes.get("traceparent", ""), notes.get("tracestate", ""))
    return (*pairs, *carrier.pairs)
