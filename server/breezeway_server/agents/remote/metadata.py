"""What a call says about its run beside the request: for meshes and traces, which do not read messages."""

import re
from urllib.parse import quote

from breezeway.v1 import agent_service_pb2

Metadata = tuple[tuple[str, str], ...]

# https://www.w3.org/TR/trace-context/: version, trace, parent and flags; and a list of vendors' values.
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_TRACESTATE = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,510}[\x21-\x7e])?")
# Proxies cap all metadata of a call at 8 KiB.
_LONGEST_USER = 1024


def metadata_of_agent(agent: str) -> Metadata:
    """The metadata of every call to the agent of that name."""
    return (("breezeway-agent", agent),)


def metadata_of_run(agent: str, request: agent_service_pb2.RunRequest) -> Metadata:
    """The metadata of Run, as the contract lists it."""
    pairs = [
        *metadata_of_agent(agent),
        ("breezeway-run-id", request.run_id),
        ("breezeway-attempt", str(request.attempt)),
    ]
    user = quote(request.spec.user, safe="")
    if user and len(user) <= _LONGEST_USER:
        pairs.append(("breezeway-user", user))
    # Found in the run's own metadata, so that a run that was queued or taken up again is still in its caller's trace.
    notes = request.spec.metadata
    if _TRACEPARENT.fullmatch(notes.get("traceparent", "")):
        pairs.append(("traceparent", notes["traceparent"]))
        if _TRACESTATE.fullmatch(notes.get("tracestate", "")):
            pairs.append(("tracestate", notes["tracestate"]))
    return tuple(pairs)
