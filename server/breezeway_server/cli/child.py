"""A child of `breezeway serve`: runs a module for as long as its parent lives.

The parent holds the other end of standard input. When that closes, the parent is gone, however it went, and the child
must not keep ports and files that the next start needs. What breaks the child is told to the parent in one line, on the
pipe whose number is the first argument.
"""

import os
import runpy
import sys
import threading
from types import TracebackType

# A pipe takes it without anybody who reads.
_LONGEST = 2000


def _end_with_parent() -> None:
    while os.read(0, 4096):
        pass
    os._exit(1)


def _tell_parent(pipe: int) -> None:
    show = sys.excepthook

    def told(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        show(kind, error, traceback)
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        os.write(pipe, f"{type(error).__name__}: {error}".encode(errors="replace")[:_LONGEST])

    sys.excepthook = told


def main() -> None:
    """Run the module that the second argument names, with the rest as its arguments."""
    pipe = int(sys.argv[1])
    # Nobody whom this process starts shall hold it open.
    os.set_inheritable(pipe, False)
    _tell_parent(pipe)
    threading.Thread(target=_end_with_parent, name="lifeline", daemon=True).start()
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
