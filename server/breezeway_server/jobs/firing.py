"""Which firings of a job are due: the policy for those that were missed."""

from typing import NamedTuple

from breezeway_server.jobs.schedule import After


class Firing(NamedTuple):
    """The time to fire for, None where it was missed by too much; and the time after it, None where there is none."""

    due_ns: int | None
    next_ns: int | None


def firing(after: After, planned_ns: int, now_ns: int, catch_up_ns: int) -> Firing:
    """Return what is to be done about a job whose planned time has come.

    Of several that are due the newest counts, and only where it is at most `catch_up_ns` late.
    """
    oldest = now_ns - catch_up_ns
    at = planned_ns if planned_ns >= oldest else after(max(planned_ns, oldest - 1))
    newest = None
    while at is not None and at <= now_ns:
        newest, at = at, after(at)
    return Firing(newest, at)
