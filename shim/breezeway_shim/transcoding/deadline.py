"""`Grpc-Timeout`: how long a caller is ready to wait, in the form in which gRPC itself writes it."""

import re

from breezeway_shim.transcoding.faults import Fault

# https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md: at most eight digits and a unit.
_TIMEOUT = re.compile(r"(?P<value>[0-9]{1,8})(?P<unit>[HMSmun])")
_SECONDS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


def read_timeout(text: str | None) -> float | None:
    """Return the timeout of the header in seconds; None where there is none. Raises `Fault`."""
    if text is None:
        return None
    found = _TIMEOUT.fullmatch(text)
    if found is None:
        raise Fault("Grpc-Timeout", "must be at most eight digits and one of H, M, S, m, u and n, such as 10S")
    return int(found["value"]) * _SECONDS[found["unit"]]
