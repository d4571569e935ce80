"""A child of `breezeway serve`: runs a module for as long as its parent lives.

The parent holds the other end of standard input. When that closes, the parent is gone, however it went, and the child
must not keep ports and files that the next start needs.
"""

import os
import runpy
import sys
import threading


def _end_with_parent() -> None:
    while os.read(0, 4096):
        pass
    os._exit(1)


def main() -> None:
    """Run the module that the first argument names, with the rest as its arguments."""
    threading.Thread(target=_end_with_parent, name="lifeline", daemon=True).start()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
