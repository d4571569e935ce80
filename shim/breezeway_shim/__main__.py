"""`python -m breezeway_shim`: serves with the settings of the environment."""

import sys

import pydantic
import uvloop
from breezeway.telemetry.logs import configure_logging
from breezeway.telemetry.traces import NoOpenTelemetry

from breezeway_shim.config import ShimSettings
from breezeway_shim.server import KeysNeeded, serve
from breezeway_shim.tls import BadTls

# Exit statuses that tell whoever started this that starting it again as it is would not help.
_BAD_CONFIGURATION = 2
_CANNOT_LISTEN = 3


def main() -> int:
    """Serve, and return the exit status."""
    try:
        settings = ShimSettings()
    except pydantic.ValidationError as error:
        for fault in error.errors():
            sys.stderr.write(f"BREEZEWAY_{'_'.join(map(str, fault['loc'])).upper()}: {fault['msg']}\n")
        return _BAD_CONFIGURATION
    configure_logging(settings.log_format)
    try:
        uvloop.run(serve(settings))
    except KeysNeeded:
        sys.stderr.write(
            f"Not listening on {settings.http_listen}: its server has no keys, so whoever reaches it could use every "
            "agent. Set BREEZEWAY_API_KEYS for the server, or create a key with `breezeway keys create`, or listen on "
            "127.0.0.1.\n"
        )
        return _BAD_CONFIGURATION
    except (BadTls, NoOpenTelemetry) as error:
        sys.stderr.write(f"{error}\n")
        return _BAD_CONFIGURATION
    except OSError as error:
        sys.stderr.write(f"Cannot listen on {settings.http_listen}: {error.strerror}.\n")
        return _CANNOT_LISTEN
    return 0


if __name__ == "__main__":
    sys.exit(main())
