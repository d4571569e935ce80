"""The profiles of a server: kept in the store, live in the registry."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from breezeway.v1 import agent_pb2, run_pb2
from grpc import StatusCode
from msgspec import Struct

from breezeway_server.agents.base import Agent
from breezeway_server.agents.build import AgentBuilder
from breezeway_server.agents.config import AgentConfig
from breezeway_server.agents.errors import ConfigError, run_error
from breezeway_server.agents.registry import AgentRegistry
from breezeway_server.engine.supervisor import Supervisor
from breezeway_server.errors import AlreadyExists, BreezewayError, FailedPrecondition, InvalidRequest, NotFound
from breezeway_server.profiles import checking
from breezeway_server.profiles.secrets import SecretBox, SecretsLost
from breezeway_server.profiles.unavailable import UnavailableAgent
from breezeway_server.store.base import Request, Store, StoredProfile

_logger = structlog.get_logger()

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Profile(Struct, frozen=True, kw_only=True):
    """A profile, and the agent that it is now; None where the configuration file has taken its name.

    `fault` is the reason for which it cannot run, empty where it can.
    """

    stored: StoredProfile
    agent: Agent | None
    fault: str = ""


class Profiles:
    """Creates, changes and deletes agents while the server runs. One change is made at a time."""

    def __init__(
        self,
        store: Store,
        agents: AgentRegistry,
        builder: AgentBuilder,
        supervisor: Supervisor,
        secrets: SecretBox | None,
        *,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """`secrets` is None where the server has no key to keep them; `clock` gives nanoseconds since 1970."""
        self._store = store
        self._agents = agents
        self._builder = builder
        self._supervisor = supervisor
        self._secrets = secrets
        self._clock = clock
        self._profiles: dict[str, Profile] = {}
        self._lock = asyncio.Lock()
        self._retiring: set[asyncio.Task[None]] = set()

    async def load(self) -> None:
        """Put what the store has into the registry; what cannot be built is there too, and its runs say why."""
        for stored in await self._store.list_profiles():
            if self._agents.get(stored.name) is not None:
                _logger.warning("profile_shadowed", agent=stored.name, by="an agent of the configuration")
                self._profiles[stored.name] = Profile(stored=stored, agent=None, fault="AGENT_NOT_READY")
                continue
            profile = self._built(stored)
            assert profile.agent is not None, "only shadowed profiles are without"
            try:
                self._agents.put(profile.agent)
            except ConfigError as error:
                profile = _not_ready(stored, str(error))
                assert profile.agent is not None, "see above"
                self._agents.put(profile.agent)
            self._profiles[stored.name] = profile

    def _built(self, stored: StoredProfile) -> Profile:
        try:
            config = {**stored.config, **self._opened(stored)}
            return Profile(stored=stored, agent=self._build(stored.name, checking.check_config(config), stored))
        except SecretsLost:
            _logger.error("profile_secrets_lost", agent=stored.name, check="BREEZEWAY_SECRET_KEY")  # noqa: TRY400
            error = run_error(
                "AGENT_SECRET_LOST",
                f"The secrets of agent {stored.name} cannot be read any more; they have to be set again.",
                StatusCode.FAILED_PRECONDITION,
            )
            return Profile(stored=stored, agent=_unavailable(stored, error), fault=error.reason)
        except (ConfigError, BreezewayError) as error:
            return _not_ready(stored, str(error))

    def _opened(self, stored: StoredProfile) -> dict[str, Any]:
        """Return the secrets in the clear. Raises `SecretsLost`."""
        if stored.secrets is None:
            return {}
        if self._secrets is None:
            raise SecretsLost
        return self._secrets.open(stored.name, stored.secrets)

    def _build(self, name: str, config: AgentConfig, stored: StoredProfile) -> Agent:
        return self._builder.build(name, config, _EPOCH + timedelta(microseconds=stored.create_time_ns // 1000))

    def list(self) -> Sequence[Profile]:
        """Return all profiles by name."""
        return [self._profiles[name] for name in sorted(self._profiles)]

    def get(self, name: str) -> Profile:
        """Return a profile. Raises `NotFound`, and `FailedPrecondition` for an agent that is none."""
        profile = self._profiles.get(name)
        if profile is None:
            if self._agents.get(name) is not None:
                raise _read_only(name)
            raise NotFound("AGENT_NOT_FOUND", f"There is no agent {name[:64]!r}; list the profiles to see which are.")
        return profile

    async def create(
        self, name: str, config: Mapping[str, Any], *, tenant: str = "", request: Request | None = None
    ) -> Profile:
        """Create an agent, or return the one that the tenant's request made before. Raises as `CreateAgent` says.

        It can be run when this returns.
        """
        checking.check_name(name)
        async with self._lock:
            if request is not None:
                request = self._sealed(request)
                earlier = await self._store.find_created_profile(tenant, request)
                if earlier is not None:
                    return self._profiles[earlier]
            if self._agents.get(name) is not None:
                raise AlreadyExists("AGENT_EXISTS", f"There is an agent or an alias {name!r} already.")
            return await self._put(name, checking.merged({}, config), tenant=tenant, request=request)

    def _sealed(self, request: Request) -> Request:
        """Return the request with a hash that tells nobody who has the store alone whether they guessed a secret."""
        if self._secrets is None:
            # Then there are no secrets in it.
            return request
        return Request(request.id, self._secrets.fingerprint(request.hash), request.time_ns)

    async def update(self, name: str, change: Mapping[str, Any]) -> Profile:
        """Change an agent; runs that come after this have the change. Raises as `UpdateAgent` says."""
        async with self._lock:
            profile = self._changeable(name)
            config = checking.merged({**profile.stored.config, **self._kept_secrets(profile.stored, change)}, change)
            return await self._put(name, config, create_time_ns=profile.stored.create_time_ns)

    def _kept_secrets(self, stored: StoredProfile, change: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return self._opened(stored)
        except SecretsLost:
            lost = {path.partition(".")[0] for path in stored.secret_keys}
            if not lost <= change.keys():
                names = " and ".join(sorted(lost))
                message = f"The secrets of {stored.name} cannot be read any more; set {names} again, or to null."
                raise FailedPrecondition("AGENT_SECRET_LOST", message) from None
            return {}

    async def delete(self, name: str) -> None:
        """Delete an agent; runs under way end with it. Raises as `DeleteAgent` says."""
        async with self._lock:
            profile = self.get(name)
            await self._store.delete_profile(name)
            del self._profiles[name]
            if profile.agent is not None:
                self._agents.remove(profile.agent)
                self._retire(profile.agent)

    def _changeable(self, name: str) -> Profile:
        profile = self.get(name)
        if profile.agent is None:
            raise _read_only(name)
        return profile

    async def _put(
        self,
        name: str,
        config: Mapping[str, Any],
        *,
        create_time_ns: int | None = None,
        tenant: str = "",
        request: Request | None = None,
    ) -> Profile:
        shown, secrets = checking.split(config)
        checked = checking.check_config(config)
        if secrets and self._secrets is None:
            field = f"config.{next(iter(secrets))}"
            message = (
                f"{field}: this server has no BREEZEWAY_SECRET_KEY to keep secrets with; "
                "name an environment variable with api_key_env."
            )
            raise InvalidRequest(field, message, reason="SECRET_KEY_MISSING")
        for alias in checked.aliases:
            other = self._agents.get(alias)
            if other is not None and other.info.name != name:
                raise AlreadyExists("AGENT_EXISTS", f"The alias {alias!r} belongs to agent {other.info.name!r}.")
        now = self._clock()
        stored = StoredProfile(
            name=name,
            config=shown,
            secret_keys=checking.paths_of(secrets),
            secrets=self._secrets.close(name, secrets) if secrets and self._secrets is not None else None,
            create_time_ns=now if create_time_ns is None else create_time_ns,
            update_time_ns=now,
        )
        try:
            agent = self._build(name, checked, stored)
        except ConfigError as error:
            raise InvalidRequest("config", str(error)) from error
        # The store comes first: what can be run must be there after a restart. An agent that is built holds nothing
        # yet, and needs no closing where the store refuses.
        await self._store.put_profile(stored, tenant=tenant, request=request)
        before = self._agents.put(agent)
        if before is not None:
            self._retire(before)
        self._profiles[name] = Profile(stored=stored, agent=agent)
        return self._profiles[name]

    def _retire(self, agent: Agent) -> None:
        task = asyncio.create_task(self._close_when_done(agent), name=f"retire {agent.info.name}")
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def _close_when_done(self, agent: Agent) -> None:
        await self._supervisor.finished_with(agent)
        await agent.close()

    async def close(self) -> None:
        """Wait until all agents that were replaced or deleted are closed. No run may be under way."""
        await asyncio.gather(*self._retiring)


def _not_ready(stored: StoredProfile, why: str) -> Profile:
    _logger.error("profile_not_ready", agent=stored.name, fault=why)
    error = run_error(
        "AGENT_NOT_READY",
        f"Agent {stored.name} cannot run as it is configured; the server's log says why.",
        StatusCode.FAILED_PRECONDITION,
    )
    return Profile(stored=stored, agent=_unavailable(stored, error), fault=error.reason)


def _unavailable(stored: StoredProfile, error: run_pb2.RunError) -> UnavailableAgent:
    info = agent_pb2.Agent(name=stored.name, kind=str(stored.config.get("kind", "")), description=error.message)
    info.create_time.FromNanoseconds(stored.create_time_ns)
    return UnavailableAgent(info, error)


def _read_only(name: str) -> FailedPrecondition:
    return FailedPrecondition(
        "AGENT_READ_ONLY", f"Agent {name!r} comes from the server's configuration, and is changed there."
    )
