"""Faults of a request: where they are and what is wrong."""

_LONGEST_PATH = 200


class Fault(ValueError):
    """What stands at `path`, in the caller's spelling, is wrong; `what` goes on after its name: "must be …"."""

    def __init__(self, path: str, what: str) -> None:
        # A name that the caller made up may be of any length, and no text at all.
        self.path = path[:_LONGEST_PATH].encode(errors="replace").decode()
        super().__init__(f"{self.path or 'The request'} {what}.")


def below(path: str, name: str) -> str:
    """Return the path of the field `name` of what stands at `path`."""
    return f"{path}.{name}" if path else name
