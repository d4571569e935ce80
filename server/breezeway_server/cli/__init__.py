"""The command line: `breezeway serve | server | shim | chat | version`."""

from breezeway_server.cli.main import main

__all__ = ["main"]
