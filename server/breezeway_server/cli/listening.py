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


def taken(listen: str, flag: str) -> str:
    """What to say where somebody listens there already; empty where nobody does. `flag` chooses another address."""
    fault = listening_fault(listen)
    if fault is None or fault.errno != errno.EADDRINUSE:
        return ""
    return f"Cannot listen on {listen}: address already in use; stop what listens there, or choose another {flag}."
