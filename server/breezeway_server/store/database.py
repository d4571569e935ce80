"""The SQLite file: one process has it at a time, and what is in it is brought to the tables of today."""

import fcntl
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Literal

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import QueuePool

from breezeway_server.store.journal import recover

_MIGRATIONS = Path(__file__).parent / "migrations"
_PRAGMAS = (
    "journal_mode=WAL",
    "foreign_keys=ON",
    "busy_timeout=5000",
    # The pages that commits write to again and again should fit into memory (8 MiB), and be copied from the write-ahead
    # log to the database once for many commits (32 MiB), not for every few.
    "cache_size=-8192",
    "wal_autocheckpoint=8192",
)


class StoreLocked(Exception):
    """Another process has the data directory."""


def open_database(
    directory: Path, synchronous: Literal["NORMAL", "FULL"], *, connections: int
) -> tuple[Engine, IO[str]]:
    """Open, and create or migrate, the database in a directory; closing the file beside it lets go of the lock.

    With `NORMAL` a commit survives a crash of the process, with `FULL` a power cut too. Raises `StoreLocked` where
    another process has the directory, and OSError where it cannot be used.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as undo:
        lock = undo.enter_context((directory / "lock").open("w"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreLocked(f"{directory} is in use by another Breezeway server") from error
        engine = _engine(directory / "breezeway.sqlite3", synchronous, connections)
        undo.callback(engine.dispose)
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS))
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            recover(connection)
        undo.pop_all()
        return engine, lock


def _engine(file: Path, synchronous: str, connections: int) -> Engine:
    engine = create_engine(
        f"sqlite:///{file}", poolclass=QueuePool, pool_size=connections, max_overflow=0, pool_reset_on_return=None
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        # The driver would begin transactions before INSERT, UPDATE and DELETE only: reads and migrations need them too.
        connection.isolation_level = None
        for pragma in (*_PRAGMAS, f"synchronous={synchronous}"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine
