"""`python -m breezeway_server` is `breezeway`."""

from breezeway_server.cli.main import main

main()
