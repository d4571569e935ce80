"""The store: opened for reading alone, looked through for faults, and read for what other checks need."""

import os
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from breezeway_server.cli.doctor.finding import Finding, fail, ok
from breezeway_server.store import key_rows, migrations, profile_rows
from breezeway_server.store.base import StoredKey, StoredProfile
from breezeway_server.store.schema import runs

_CHECK = "store"
_FILE = "breezeway.sqlite3"
_QUICK_CHECK_SECONDS = 5.0
_INSTRUCTIONS = 10_000
_RUN_ID_TIME = slice(4, 16)


class Stored(NamedTuple):
    """What is in the store; `newest_run` is when its newest run was accepted, in seconds since 1970."""

    keys: Sequence[StoredKey] = ()
    profiles: Sequence[StoredProfile] = ()
    newest_run: float | None = None


def check_store(directory: Path) -> tuple[Stored, list[Finding]]:
    """Look into the store of a data directory; None is well where there is no store yet."""
    file = directory / _FILE
    if not os.access(file, os.F_OK):
        return Stored(), [ok(_CHECK, "There is none yet; the first start creates it.")]
    # Reading what nobody has open would put files beside it, unless it is said that nothing will change. Where there
    # is a write-ahead log, a server has it open or was killed, and the log is a part of what there is to read.
    mode = "mode=ro" if file.with_name(f"{_FILE}-wal").exists() else "immutable=1"
    engine = create_engine(
        "sqlite://", creator=lambda: sqlite3.connect(f"file:{file}?{mode}", uri=True), poolclass=StaticPool
    )
    try:
        with engine.connect() as connection:
            revision, findings = _check_schema(connection)
            findings += _check_pages(connection)
            return (_read(connection) if revision else Stored()), findings
    except DBAPIError as error:
        advice = "Restore it from a copy, or choose another BREEZEWAY_DATA_DIR."
        return Stored(), [fail(_CHECK, f"{file} cannot be read ({error.orig}).", advice)]
    finally:
        engine.dispose()


def _check_schema(connection: Connection) -> tuple[bool, list[Finding]]:
    """Whether the tables are those of this version, and what there is to say about it."""
    config = Config()
    config.set_main_option("script_location", str(Path(str(migrations.__file__)).parent))
    scripts = ScriptDirectory.from_config(config)
    known = [script.revision for script in scripts.walk_revisions()]
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one_or_none()
    if found == scripts.get_current_head():
        return True, [ok(_CHECK, f"Its tables are of version {found}.")]
    if found in known:
        return False, [ok(_CHECK, f"Its tables are of version {found}; the next start brings them up to date.")]
    return False, [
        fail(
            _CHECK,
            f"Its tables are of version {found}, which this Breezeway does not know.",
            "Install a newer release.",
        )
    ]


def _check_pages(connection: Connection) -> list[Finding]:
    """SQLite's own quick check, for a few seconds at most."""
    until = time.monotonic() + _QUICK_CHECK_SECONDS
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection), "the creator gave it"
    driver.set_progress_handler(lambda: time.monotonic() > until, _INSTRUCTIONS)
    try:
        (said,) = driver.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        return [ok(_CHECK, f"No fault was found in the first {_QUICK_CHECK_SECONDS:g} seconds of looking.")]
    finally:
        driver.set_progress_handler(None, 0)
    if said != "ok":
        return [fail(_CHECK, f"It is damaged: {said}.", "Stop the server and restore the store from a copy.")]
    return [ok(_CHECK, "It is whole.")]


def _read(connection: Connection) -> Stored:
    newest = connection.execute(select(func.max(runs.c.id))).scalar_one_or_none()
    # The first 48 bits of a UUIDv7 are milliseconds.
    moment = int(newest[_RUN_ID_TIME], 16) / 1000 if newest else None
    return Stored(key_rows.list_(connection), profile_rows.list_(connection), moment)
