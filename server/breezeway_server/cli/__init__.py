"""The command line: `breezeway serve | server | shim | chat | runs | keys | agent | doctor | version`."""

from breezeway_server.cli.main import main

__all__ = ["main"]
