"""Whether an address can be listened on, found out by trying."""

import errno
import socket


def listening_fault(listen: str) -> OSError | None:
    """Why `host:port` cannot be listened on; None where it can, and where it is no address at all."""
    host, _, port = listen.rpartition(":")
    try:
        with socket.create_server(
            (host.removeprefix("[").removesuffix("]"), int(port)),
            family=socket.AF_INET6 if ":" in host else socket.AF_INET,
        ):
            return None
    except OSError as error:
        return error
    except (ValueError, OverflowError):
        return None


def taken(listen: str) -> bool:
    """Whether somebody listens there already."""
    fault = listening_fault(listen)
    return fault is not None and fault.errno == errno.EADDRINUSE
