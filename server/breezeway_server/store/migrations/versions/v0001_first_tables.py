"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create runs, their logs and items, request ids, and conversations."""
    op.create_table(
        "conversations",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("create_time_ns", sa.BigInteger(), nullable=False),
        sa.Column("conversation", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_conversations")),
    )
    op.create_index(
        "ix_conversations_create_time_ns", "conversations", ["tenant", "create_time_ns", "id"], unique=False
    )
    op.create_table(
        "conversation_requests",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("conversation_id", sa.Text(), nullable=False),
        sa.Column("item_ids", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(), nullable=False),
        sa.Column("create_time_ns", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "conversation_id"],
            ["conversations.tenant", "conversations.id"],
            name=op.f("fk_conversation_requests_tenant"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant", "request_id", name=op.f("pk_conversation_requests")),
    )
    op.create_index(
        "ix_conversation_requests_create_time_ns", "conversation_requests", ["create_time_ns"], unique=False
    )
    op.create_index(
        "ix_conversation_requests_conversation", "conversation_requests", ["tenant", "conversation_id"], unique=False
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("dialect", sa.Text(), nullable=False),
        sa.Column("state", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("unreleased", sa.Integer(), nullable=False),
        sa.Column("conversation_id", sa.Text(), nullable=True),
        sa.Column("previous_run_id", sa.Text(), nullable=True),
        sa.Column("explicit_history", sa.Boolean(), nullable=False),
        sa.Column("create_time_ns", sa.BigInteger(), nullable=False),
        sa.Column("end_time_ns", sa.BigInteger(), nullable=True),
        sa.Column("log_kept", sa.Boolean(), server_default=sa.text("1"), nullable=False),
        sa.Column("spec", sa.LargeBinary(), nullable=False),
        sa.Column("result", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
    )
    op.create_index("ix_runs_conversation", "runs", ["tenant", "conversation_id", "id"], unique=False)
    kept = sa.text("end_time_ns IS NOT NULL AND log_kept")
    op.create_index("ix_runs_log_kept", "runs", ["end_time_ns"], unique=False, sqlite_where=kept)
    op.create_index("ix_runs_previous", "runs", ["tenant", "previous_run_id"], unique=False)
    op.create_index("ix_runs_tenant_id", "runs", ["tenant", "id"], unique=False)
    op.create_index("ix_runs_unfinished", "runs", ["id"], unique=False, sqlite_where=sa.text("end_time_ns IS NULL"))
    op.create_table(
        "events",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("frames", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_events_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "first", name=op.f("pk_events")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "items",
        sa.Column("sort_key", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.Column("is_output", sa.Boolean(), nullable=False),
        sa.Column("conversation_id", sa.Text(), nullable=True),
        sa.Column("removed", sa.Boolean(), server_default=sa.text("0"), nullable=False),
        sa.Column("item", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_items_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("sort_key", name=op.f("pk_items")),
    )
    op.create_index("ix_items_conversation", "items", ["tenant", "conversation_id", "sort_key"], unique=False)
    op.create_index("ix_items_run", "items", ["run_id", "sort_key"], unique=False)
    op.create_table(
        "requests",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(), nullable=False),
        sa.Column("create_time_ns", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_requests_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("tenant", "request_id", name=op.f("pk_requests")),
    )
    op.create_index("ix_requests_create_time_ns", "requests", ["create_time_ns"], unique=False)
    op.create_index("ix_requests_run_id", "requests", ["run_id"], unique=False)
    op.create_table(
        "run_metadata",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_run_metadata_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "key", name=op.f("pk_run_metadata")),
    )
    op.create_table(
        "grants",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("tool", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "agent", "tool", "scope", name=op.f("pk_grants")),
    )
