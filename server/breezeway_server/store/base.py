"""What the engine and the services ask of a store, whichever it is."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from breezeway.v1 import conversation_pb2, item_pb2, job_pb2, key_pb2, run_pb2
from msgspec import Struct

from breezeway_server.events.log_store import LogStore


class RunFilter(Struct, frozen=True, kw_only=True):
    """Which runs to list; what is empty does not narrow the list. Ids are canonical."""

    after_run_id: str = ""
    ascending: bool = False
    limit: int = 20
    agent: str = ""
    dialect: str = ""
    conversation_id: str = ""
    states: Sequence[run_pb2.RunState.ValueType] = ()
    metadata: Mapping[str, str] = {}


class ItemPage(Struct, frozen=True, kw_only=True):
    """Which part of a list of items to read."""

    after_item_id: str = ""
    ascending: bool = False
    limit: int = 20


class EarlierRequest(Struct, frozen=True):
    """The run that a request id named before, and the hash of the body it came with."""

    run_id: str
    request_hash: bytes


class Request(Struct, frozen=True):
    """A request id that its caller chose, the hash of the body it comes with, and when it came (ns since 1970)."""

    id: str
    hash: bytes
    time_ns: int


class Created(Struct, frozen=True):
    """What a request id made before: a conversation, or items in it. The conversation is as it is now."""

    conversation: conversation_pb2.Conversation
    items: Sequence[item_pb2.Item]


class RunHead(Struct, frozen=True):
    """Where a run stands, without what went in and came out."""

    state: run_pb2.RunState.ValueType
    last_sequence: int


class UnfinishedRun(Struct, frozen=True):
    """A run whose log has no terminal event; its server is gone.

    `losses` is how many of its attempts were neither ended nor released.
    """

    run_id: str
    tenant: str
    attempt: int
    losses: int


class StoredProfile(Struct, frozen=True, kw_only=True):
    """An agent that was created over the API; `secrets` are encrypted, None where there are none.

    `secret_keys` are the paths of the secrets. Times are in nanoseconds since 1970.
    """

    name: str
    config: Mapping[str, Any]
    secret_keys: tuple[str, ...]
    secrets: bytes | None
    create_time_ns: int
    update_time_ns: int


class DueJob(Struct, frozen=True):
    """A job whose time has come."""

    tenant: str
    job_id: str


class StoredKey(Struct, frozen=True):
    """An API key with the SHA-256 hashes of its secret and, until a time (ns since 1970), of the one before."""

    key: key_pb2.Key
    hash: bytes
    previous_hash: bytes = b""
    previous_until_ns: int = 0


class Store(LogStore, Protocol):
    """Where logged runs and conversations outlive the process.

    Everything is read and changed within one tenant; what belongs to another one is not there. Every call raises
    `Unavailable` where the store cannot be reached now.
    """

    async def close(self) -> None:
        """Let go of files and threads; nothing may be under way."""

    async def get_run(self, tenant: str, run_id: str) -> run_pb2.Run | None:
        """Return the run as its log has it, with input and output."""

    async def run_head(self, tenant: str, run_id: str) -> RunHead | None:
        """Return where the run stands."""

    async def list_runs(self, tenant: str, query: RunFilter) -> list[run_pb2.Run]:
        """Return runs by id, which is by time."""

    async def update_run_metadata(self, tenant: str, run_id: str, metadata: Mapping[str, str]) -> bool:
        """Replace the run's metadata; return whether there is such a run."""

    async def delete_run(self, tenant: str, run_id: str) -> bool:
        """Delete the run with its events, items and request id; return whether there was one."""

    async def find_request(self, tenant: str, request_id: str) -> EarlierRequest | None:
        """Return the run that the request id named before, if that is still known."""

    async def list_keys(self) -> list[StoredKey]:
        """Return the API keys of all tenants, oldest first."""

    async def put_key(self, stored: StoredKey) -> None:
        """Write an API key, in place of the one of that id where there is one."""

    async def unfinished(self) -> list[UnfinishedRun]:
        """Return the runs of all tenants that have not ended, oldest first."""

    async def claim(self, run_id: str, attempt: int) -> bool:
        """Make `attempt` + 1 the run's attempt, so that `attempt` cannot write any more.

        Returns False where another attempt has taken the run already.
        """

    async def release(self, attempts: Mapping[str, int]) -> None:
        """Note of runs, by id, that these attempts of theirs have let go of them: they are not losses."""

    async def history(self, tenant: str, spec: run_pb2.RunSpec, before_run_id: str) -> list[item_pb2.Item]:
        """Return the items that the run `before_run_id` of this spec goes on from, oldest first.

        They are read where they lie: nothing is copied from turn to turn.
        """

    async def list_run_items(
        self, tenant: str, run_id: str, page: ItemPage, *, output: bool
    ) -> tuple[list[item_pb2.Item], bool] | None:
        """Return a page of the run's output, or of its input with the history before it; and whether there is more.

        None where `page.after_item_id` is not among them, or there is no such run.
        """

    async def find_items(self, tenant: str, item_ids: Sequence[str]) -> dict[str, item_pb2.Item]:
        """Return those of the items that are there, by id."""

    async def grant(self, tenant: str, agent: str, tool: str, scope: str) -> None:
        """Remember leave for an agent's tool in a scope: a conversation, a run, or empty for always."""

    async def granted(self, tenant: str, agent: str, tool: str, scope: str) -> bool:
        """Return whether leave for an agent's tool was given in this scope, or for always."""

    async def expire(self, *, ended_before_ns: int, requested_before_ns: int, limit: int) -> int:
        """Forget events of runs that ended, and request ids that were used, before these times (ns since 1970).

        At most `limit` of each at a time, so that writers do not wait long. Returns how many it was; the work is in
        proportion to that.
        """

    async def find_created(self, tenant: str, request: Request) -> Created | None:
        """Return what `create_conversation` or `add_conversation_items` made for that request id before.

        Raises `RequestIdReused` where it came with another body.
        """

    async def create_conversation(
        self,
        tenant: str,
        conversation: conversation_pb2.Conversation,
        items: Sequence[item_pb2.Item],
        request: Request | None = None,
    ) -> conversation_pb2.Conversation | None:
        """Create the conversation with its first items and return it, or the one that the request made before.

        Returns None, changing nothing, where its id is taken. Raises `RequestIdReused`.
        """

    async def get_conversation(self, tenant: str, conversation_id: str) -> conversation_pb2.Conversation | None:
        """Return the conversation."""

    async def list_conversations(
        self, tenant: str, before: tuple[int, str] | None, limit: int
    ) -> list[conversation_pb2.Conversation]:
        """Return conversations by time of creation and id, newest first: those before a time (ns since 1970) and id."""

    async def update_conversation(self, tenant: str, conversation: conversation_pb2.Conversation) -> bool:
        """Replace the conversation of that id; return whether there is one."""

    async def delete_conversation(self, tenant: str, conversation_id: str) -> bool:
        """Delete the conversation, its request ids and the items of no run; return whether there was one."""

    async def add_conversation_items(
        self, tenant: str, conversation_id: str, items: Sequence[item_pb2.Item], request: Request | None = None
    ) -> Sequence[item_pb2.Item] | None:
        """Add items at the end and return them, or those that the request added before.

        Returns None where there is no such conversation. Raises `RequestIdReused`.
        """

    async def list_conversation_items(
        self, tenant: str, conversation_id: str, page: ItemPage
    ) -> tuple[list[item_pb2.Item], bool] | None:
        """Return a page of the conversation's items, and whether there is more.

        None where `page.after_item_id` is not among them.
        """

    async def get_conversation_item(self, tenant: str, conversation_id: str, item_id: str) -> item_pb2.Item | None:
        """Return one item of the conversation."""

    async def remove_conversation_item(self, tenant: str, conversation_id: str, item_id: str) -> bool:
        """Take an item out of the conversation; return whether it was in it."""

    async def find_created_profile(self, tenant: str, request: Request) -> str | None:
        """Return the name of the profile that the request made before. Raises `RequestIdReused`."""

    async def put_profile(self, profile: StoredProfile, *, tenant: str = "", request: Request | None = None) -> None:
        """Keep the profile, in place of one of that name, and note that the tenant's request made it.

        Profiles are the server's, not a tenant's; request ids are the tenant's that chose them.
        """

    async def list_profiles(self) -> list[StoredProfile]:
        """Return all profiles by name."""

    async def delete_profile(self, name: str) -> None:
        """Forget the profile, if it is there."""

    async def find_created_job(self, tenant: str, request: Request) -> job_pb2.Job | None:
        """Return the job that the request made before. Raises `RequestIdReused`."""

    async def put_job(self, tenant: str, job: job_pb2.Job, request: Request | None = None) -> None:
        """Keep the job, in place of one of that id, and note that the request made it."""

    async def get_job(self, tenant: str, job_id: str) -> job_pb2.Job | None:
        """Return the job."""

    async def list_jobs(self, tenant: str, after_id: str, limit: int, *, include_disabled: bool) -> list[job_pb2.Job]:
        """Return jobs by time of creation, those after an id (empty: all)."""

    async def delete_job(self, tenant: str, job_id: str) -> bool:
        """Delete the job; return whether there was one."""

    async def due_jobs(self, now_ns: int) -> list[DueJob]:
        """Return the jobs of all tenants whose time (ns since 1970) has come, the earliest first."""

    async def next_job_time(self) -> int | None:
        """Return when the next job of any tenant fires (ns since 1970); None where none does."""
