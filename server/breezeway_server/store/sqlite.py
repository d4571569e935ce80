"""The store inside the process: one SQLite file in WAL mode.

SQLite has one writer at a time, so one thread does all writing and a few do the reading; a unit of work, however many
statements it has, is one hop to its thread (docs/adr/0003). The file belongs to one process (see `database`): what that
writes is then fenced by the file.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Concatenate, Literal, ParamSpec, TypeVar

import structlog
from breezeway.v1 import conversation_pb2, item_pb2, job_pb2, run_pb2
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from breezeway_server.errors import Unavailable
from breezeway_server.events.log_store import Append, StoredFrames
from breezeway_server.store import conversation_rows, item_rows, job_rows, key_rows, log_rows, profile_rows, run_rows
from breezeway_server.store.base import (
    Created,
    DueJob,
    EarlierRequest,
    ItemPage,
    Request,
    RunFilter,
    RunHead,
    StoredKey,
    StoredProfile,
    UnfinishedRun,
)
from breezeway_server.store.database import open_database
from breezeway_server.store.journal import Journal, Written, clear

P = ParamSpec("P")
T = TypeVar("T")
Work = Callable[Concatenate[Connection, P], T]
Appending = Callable[[Connection, Sequence[Append], Journal], Written]

_logger = structlog.get_logger()

_READERS = 4
# How much is held in memory, and read again at a start after a crash: a few seconds of a thousand tokens each.
_JOURNAL_BYTES = 2 * 1024 * 1024


class SqliteStore:
    """A `Store` in one file. Made by `open_sqlite`."""

    def __init__(self, engine: Engine, lock: IO[str]) -> None:
        self._engine = engine
        self._lock = lock
        self._journal = Journal()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store-writer")
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="store-reader")

    async def _read(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._run(self._readers, lambda: self._transact(work, *args, **kwargs))

    async def _write(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._run(self._writer, lambda: self._transact(work, *args, **kwargs))

    def _transact(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        # One transaction, so that all statements of the unit see the same state.
        with self._engine.begin() as connection:
            return work(connection, *args, **kwargs)

    async def _run(self, threads: ThreadPoolExecutor, unit: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(threads, unit)
        except log_rows.FAULTS:
            raise
        except DBAPIError as error:
            raise Unavailable("STORE_UNAVAILABLE", "The store cannot be used now; try again.", 1.0) from error

    async def close(self) -> None:
        """Let go of the file and the threads."""
        self._writer.shutdown()
        self._readers.shutdown()
        self._engine.dispose()
        self._lock.close()

    async def append(self, appends: Sequence[Append]) -> frozenset[str]:
        """See `Store`."""
        try:
            return await self._run(self._writer, lambda: self._append(log_rows.append, appends))
        except log_rows.FAULTS:
            # What is wrong with one run is not the others' fault.
            return await self._run(self._writer, lambda: self._append(log_rows.append_singly, appends))

    def _append(self, write: Appending, appends: Sequence[Append]) -> frozenset[str]:
        with self._engine.begin() as connection:
            written = write(connection, appends, self._journal)
            if self._journal.is_emptied_by(written):
                clear(connection)
        self._journal.wrote(written)
        if self._journal.size > _JOURNAL_BYTES:
            try:
                self._write_out()
            except DBAPIError:
                # What was appended is durable all the same, and the next append tries again.
                _logger.warning("journal_not_written_out", bytes=self._journal.size, exc_info=True)
        return written.fenced

    def _write_out(self) -> None:
        self._transact(self._journal.write_out)
        self._journal.wrote_out()

    async def _reach(self, run_id: str) -> None:
        """See to it that the run has all of its durable events in rows of its own."""
        if self._journal.holds(run_id):
            await self._run(self._writer, self._write_out)

    async def _reach_all(self) -> None:
        if self._journal.size:
            await self._run(self._writer, self._write_out)

    async def read_events(self, run_id: str, after: int, limit: int) -> list[StoredFrames]:
        """See `Store`."""
        await self._reach(run_id)
        return await self._read(log_rows.read, run_id, after, limit)

    async def get_run(self, tenant: str, run_id: str) -> run_pb2.Run | None:
        """See `Store`."""
        await self._reach(run_id)
        return await self._read(run_rows.get, tenant, run_id)

    async def run_head(self, tenant: str, run_id: str) -> RunHead | None:
        """See `Store`."""
        await self._reach(run_id)
        return await self._read(run_rows.head, tenant, run_id)

    async def list_runs(self, tenant: str, query: RunFilter) -> list[run_pb2.Run]:
        """See `Store`."""
        await self._reach_all()
        return await self._read(run_rows.list_, tenant, query)

    async def update_run_metadata(self, tenant: str, run_id: str, metadata: Mapping[str, str]) -> bool:
        """See `Store`."""
        return await self._write(run_rows.update_metadata, tenant, run_id, metadata)

    async def delete_run(self, tenant: str, run_id: str) -> bool:
        """See `Store`."""
        # Nothing of the run may be left in the journal.
        await self._reach_all()
        return await self._run(self._writer, lambda: self._delete_run(tenant, run_id))

    def _delete_run(self, tenant: str, run_id: str) -> bool:
        deleted = self._transact(run_rows.delete_, tenant, run_id)
        if deleted:
            self._journal.forget(run_id)
        return deleted

    async def find_request(self, tenant: str, request_id: str) -> EarlierRequest | None:
        """See `Store`."""
        return await self._read(run_rows.find_request, tenant, request_id)

    async def list_keys(self) -> list[StoredKey]:
        """See `Store`."""
        return await self._read(key_rows.list_)

    async def put_key(self, stored: StoredKey) -> None:
        """See `Store`."""
        await self._write(key_rows.put, stored)

    async def unfinished(self) -> list[UnfinishedRun]:
        """See `Store`."""
        return await self._read(run_rows.unfinished)

    async def claim(self, run_id: str, attempt: int) -> bool:
        """See `Store`."""
        return await self._run(self._writer, lambda: self._claim(run_id, attempt))

    def _claim(self, run_id: str, attempt: int) -> bool:
        claimed = self._transact(run_rows.claim, run_id, attempt)
        if claimed:
            self._journal.claimed(run_id, attempt + 1)
        return claimed

    async def release(self, attempts: Mapping[str, int]) -> None:
        """See `Store`."""
        await self._write(run_rows.release, attempts)

    async def history(self, tenant: str, spec: run_pb2.RunSpec, before_run_id: str) -> list[item_pb2.Item]:
        """See `Store`."""
        return await self._read(item_rows.history, tenant, spec, before_run_id)

    async def list_run_items(
        self, tenant: str, run_id: str, page: ItemPage, *, output: bool
    ) -> tuple[list[item_pb2.Item], bool] | None:
        """See `Store`."""
        return await self._read(item_rows.list_of_run, tenant, run_id, page, output=output)

    async def find_items(self, tenant: str, item_ids: Sequence[str]) -> dict[str, item_pb2.Item]:
        """See `Store`."""
        return await self._read(item_rows.find, tenant, item_ids)

    async def grant(self, tenant: str, agent: str, tool: str, scope: str) -> None:
        """See `Store`."""
        await self._write(run_rows.grant, tenant, agent, tool, scope)

    async def granted(self, tenant: str, agent: str, tool: str, scope: str) -> bool:
        """See `Store`."""
        return await self._read(run_rows.granted, tenant, agent, tool, scope)

    async def expire(self, *, ended_before_ns: int, requested_before_ns: int, limit: int) -> int:
        """See `Store`."""
        await self._reach_all()
        return await self._write(run_rows.expire, ended_before_ns, requested_before_ns, limit)

    async def find_created(self, tenant: str, request: Request) -> Created | None:
        """See `Store`."""
        return await self._read(conversation_rows.created, tenant, request)

    async def create_conversation(
        self,
        tenant: str,
        conversation: conversation_pb2.Conversation,
        items: Sequence[item_pb2.Item],
        request: Request | None = None,
    ) -> conversation_pb2.Conversation | None:
        """See `Store`."""
        return await self._write(conversation_rows.create, tenant, conversation, items, request)

    async def get_conversation(self, tenant: str, conversation_id: str) -> conversation_pb2.Conversation | None:
        """See `Store`."""
        return await self._read(conversation_rows.get, tenant, conversation_id)

    async def list_conversations(
        self, tenant: str, before: tuple[int, str] | None, limit: int
    ) -> list[conversation_pb2.Conversation]:
        """See `Store`."""
        return await self._read(conversation_rows.list_, tenant, before, limit)

    async def update_conversation(self, tenant: str, conversation: conversation_pb2.Conversation) -> bool:
        """See `Store`."""
        return await self._write(conversation_rows.update_, tenant, conversation)

    async def delete_conversation(self, tenant: str, conversation_id: str) -> bool:
        """See `Store`."""
        return await self._write(conversation_rows.delete_, tenant, conversation_id)

    async def add_conversation_items(
        self, tenant: str, conversation_id: str, items: Sequence[item_pb2.Item], request: Request | None = None
    ) -> Sequence[item_pb2.Item] | None:
        """See `Store`."""
        return await self._write(conversation_rows.add_items, tenant, conversation_id, items, request)

    async def list_conversation_items(
        self, tenant: str, conversation_id: str, page: ItemPage
    ) -> tuple[list[item_pb2.Item], bool] | None:
        """See `Store`."""
        return await self._read(conversation_rows.list_items, tenant, conversation_id, page)

    async def get_conversation_item(self, tenant: str, conversation_id: str, item_id: str) -> item_pb2.Item | None:
        """See `Store`."""
        return await self._read(conversation_rows.get_item, tenant, conversation_id, item_id)

    async def remove_conversation_item(self, tenant: str, conversation_id: str, item_id: str) -> bool:
        """See `Store`."""
        return await self._write(conversation_rows.remove_item, tenant, conversation_id, item_id)

    async def find_created_profile(self, tenant: str, request: Request) -> str | None:
        """See `Store`."""
        return await self._read(profile_rows.created, tenant, request)

    async def put_profile(self, profile: StoredProfile, *, tenant: str = "", request: Request | None = None) -> None:
        """See `Store`."""
        await self._write(profile_rows.put, profile, tenant, request)

    async def list_profiles(self) -> list[StoredProfile]:
        """See `Store`."""
        return await self._read(profile_rows.list_)

    async def delete_profile(self, name: str) -> None:
        """See `Store`."""
        await self._write(profile_rows.delete_, name)

    async def find_created_job(self, tenant: str, request: Request) -> job_pb2.Job | None:
        """See `Store`."""
        return await self._read(job_rows.created, tenant, request)

    async def put_job(self, tenant: str, job: job_pb2.Job, request: Request | None = None) -> None:
        """See `Store`."""
        await self._write(job_rows.put, tenant, job, request)

    async def get_job(self, tenant: str, job_id: str) -> job_pb2.Job | None:
        """See `Store`."""
        return await self._read(job_rows.get, tenant, job_id)

    async def list_jobs(self, tenant: str, after_id: str, limit: int, *, include_disabled: bool) -> list[job_pb2.Job]:
        """See `Store`."""
        return await self._read(job_rows.list_, tenant, after_id, limit, include_disabled=include_disabled)

    async def delete_job(self, tenant: str, job_id: str) -> bool:
        """See `Store`."""
        return await self._write(job_rows.delete_, tenant, job_id)

    async def due_jobs(self, now_ns: int) -> list[DueJob]:
        """See `Store`."""
        return await self._read(job_rows.due, now_ns)

    async def next_job_time(self) -> int | None:
        """See `Store`."""
        return await self._read(job_rows.next_time)


def open_sqlite(directory: Path, synchronous: Literal["NORMAL", "FULL"]) -> SqliteStore:
    """Open, and create or migrate, the store in a directory. See `open_database`."""
    return SqliteStore(*open_database(directory, synchronous, connections=_READERS + 1))
