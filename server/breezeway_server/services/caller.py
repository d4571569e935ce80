"""Who is calling, and what they may do."""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from breezeway.v1 import key_pb2

from breezeway_server.engine.quota import UNLIMITED, Allowance

DEFAULT_TENANT: Final = "default"
ALL_SCOPES: Final = frozenset({key_pb2.KEY_SCOPE_READ, key_pb2.KEY_SCOPE_RUN, key_pb2.KEY_SCOPE_ADMIN})


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever makes a call."""

    tenant: str
    scopes: frozenset[key_pb2.KeyScope.ValueType]
    agents: frozenset[str] = frozenset()
    """The agents that there are for this caller; empty for all."""
    allowance: Allowance = UNLIMITED
    """Who pays for their runs, and how much they may use."""

    @property
    def operator(self) -> bool:
        """Whether what belongs to no tenant, or to another one, is theirs to change."""
        return self.tenant == DEFAULT_TENANT and key_pb2.KEY_SCOPE_ADMIN in self.scopes

    def sees(self, agent: str) -> bool:
        """Whether there is an agent of that name for this caller."""
        return not self.agents or agent in self.agents


OPERATOR: Final = Caller(DEFAULT_TENANT, ALL_SCOPES)
"""Whoever may do everything."""

NOBODY: Final = Caller("", frozenset())
"""Who calls what is open to everybody."""

# Every call has a task of its own, and so a context of its own.
_CALLER: ContextVar[Caller] = ContextVar("caller")


def enter_call(caller: Caller) -> None:
    """Note who makes the call that the current task serves."""
    _CALLER.set(caller)


def current_caller() -> Caller:
    """Return who makes the call that the current task serves; LookupError outside of one."""
    return _CALLER.get()


def current_tenant() -> str:
    """Return whose data the call that the current task serves may see."""
    return _CALLER.get().tenant
