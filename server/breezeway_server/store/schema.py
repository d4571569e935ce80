"""The tables. `migrations` brings a database to them; a test proves that the two agree."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    false,
    text,
    true,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)

# A run. `spec` is a RunSpec; `result` is the Run without spec, input and output, from its terminal event on.
runs = Table(
    "runs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("dialect", Text, nullable=False),
    Column("state", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    # How many of its attempts were begun and not let go of: each took its server with it, unless it is the newest.
    Column("unreleased", Integer, nullable=False),
    Column("conversation_id", Text),
    Column("previous_run_id", Text),
    Column("explicit_history", Boolean, nullable=False),
    Column("create_time_ns", BigInteger, nullable=False),
    Column("end_time_ns", BigInteger),
    # Whether its events are still there.
    Column("log_kept", Boolean, nullable=False, server_default=true()),
    Column("spec", LargeBinary, nullable=False),
    Column("result", LargeBinary),
    Index("ix_runs_tenant_id", "tenant", "id"),
    Index("ix_runs_conversation", "tenant", "conversation_id", "id"),
    # Who went on from a run, for when it is deleted.
    Index("ix_runs_previous", "tenant", "previous_run_id"),
    # Few runs are under way at a time: recovery finds them without reading the others.
    Index("ix_runs_unfinished", "id", sqlite_where=Column("end_time_ns").is_(None)),
    # Most runs have ended long ago, and their events are gone: what is to be forgotten is found without reading them.
    Index("ix_runs_log_kept", "end_time_ns", sqlite_where=text("end_time_ns IS NOT NULL AND log_kept")),
)

# What a run's metadata holds, so that lists can be filtered by it.
run_metadata = Table(
    "run_metadata",
    metadata,
    Column("run_id", Text, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

# The log: `frames` are the framed events `first` to `last`, joined.
events = Table(
    "events",
    metadata,
    Column("run_id", Text, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("first", BigInteger, primary_key=True),
    Column("last", BigInteger, nullable=False),
    Column("frames", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

# What became durable of many runs at once, until it is in the rows above: `appends` is MessagePack (see `journal`).
journal = Table(
    "journal",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("appends", LargeBinary, nullable=False),
)

# Items of runs and of conversations, each stored once. `sort_key` is the id without its prefix: it sorts by time.
items = Table(
    "items",
    metadata,
    Column("sort_key", Text, primary_key=True),
    Column("id", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("run_id", Text, ForeignKey("runs.id", ondelete="CASCADE")),
    Column("is_output", Boolean, nullable=False),
    Column("conversation_id", Text),
    # Taken out of its conversation; its run keeps it.
    Column("removed", Boolean, nullable=False, server_default=false()),
    Column("item", LargeBinary, nullable=False),
    Index("ix_items_run", "run_id", "sort_key"),
    Index("ix_items_conversation", "tenant", "conversation_id", "sort_key"),
)

# The request ids that callers chose: the same id with the same body is the same run.
requests = Table(
    "requests",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("request_id", Text, primary_key=True),
    Column("run_id", Text, ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("request_hash", LargeBinary, nullable=False),
    Column("create_time_ns", BigInteger, nullable=False),
    Index("ix_requests_create_time_ns", "create_time_ns"),
    Index("ix_requests_run_id", "run_id"),
)

# The request ids that callers chose for what they put into conversations; `item_ids` is a JSON array.
conversation_requests = Table(
    "conversation_requests",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("request_id", Text, primary_key=True),
    Column("conversation_id", Text, nullable=False),
    Column("item_ids", Text, nullable=False),
    Column("request_hash", LargeBinary, nullable=False),
    Column("create_time_ns", BigInteger, nullable=False),
    ForeignKeyConstraint(
        ["tenant", "conversation_id"], ["conversations.tenant", "conversations.id"], ondelete="CASCADE"
    ),
    Index("ix_conversation_requests_create_time_ns", "create_time_ns"),
    Index("ix_conversation_requests_conversation", "tenant", "conversation_id"),
)

# Conversations; `conversation` is the Conversation message.
conversations = Table(
    "conversations",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("create_time_ns", BigInteger, nullable=False),
    Column("conversation", LargeBinary, nullable=False),
    Index("ix_conversations_create_time_ns", "tenant", "create_time_ns", "id"),
)

# Leave that was given for more than one call: of this agent's tool, in one scope. The scope is a conversation or a
# run, or empty for always.
grants = Table(
    "grants",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("agent", Text, primary_key=True),
    Column("tool", Text, primary_key=True),
    Column("scope", Text, primary_key=True),
)

# Agents that were created over the API. `config` and `secret_keys` are JSON; `secrets` is encrypted JSON.
profiles = Table(
    "profiles",
    metadata,
    Column("name", Text, primary_key=True),
    Column("config", Text, nullable=False),
    Column("secret_keys", Text, nullable=False),
    Column("secrets", LargeBinary),
    Column("create_time_ns", BigInteger, nullable=False),
    Column("update_time_ns", BigInteger, nullable=False),
)

# Runs on a schedule; `job` is the Job message.
jobs = Table(
    "jobs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    # When it fires next; null where it does not.
    Column("next_time_ns", BigInteger),
    Column("job", LargeBinary, nullable=False),
    Index("ix_jobs_tenant_id", "tenant", "id"),
    Index("ix_jobs_next_time_ns", "next_time_ns"),
)

# The request ids that callers chose for jobs.
job_requests = Table(
    "job_requests",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("request_id", Text, primary_key=True),
    Column("job_id", Text, ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    Column("request_hash", LargeBinary, nullable=False),
    Column("create_time_ns", BigInteger, nullable=False),
    Index("ix_job_requests_create_time_ns", "create_time_ns"),
    Index("ix_job_requests_job_id", "job_id"),
)

# The request ids that callers chose for profiles.
profile_requests = Table(
    "profile_requests",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("request_id", Text, primary_key=True),
    Column("profile_name", Text, ForeignKey("profiles.name", ondelete="CASCADE"), nullable=False),
    Column("request_hash", LargeBinary, nullable=False),
    Column("create_time_ns", BigInteger, nullable=False),
    Index("ix_profile_requests_create_time_ns", "create_time_ns"),
    Index("ix_profile_requests_profile_name", "profile_name"),
)

# API keys. `key` is the Key message; the hashes are SHA-256 of its secret and of the one before.
api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("key", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("previous_hash", LargeBinary, nullable=False),
    Column("previous_until_ns", BigInteger, nullable=False),
)
