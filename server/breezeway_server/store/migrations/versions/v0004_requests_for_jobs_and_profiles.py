"""Request ids of jobs and profiles."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the tables that tell which request made a job or a profile."""
    op.create_table(
        "job_requests",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(), nullable=False),
        sa.Column("create_time_ns", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_requests_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("tenant", "request_id", name=op.f("pk_job_requests")),
    )
    op.create_index("ix_job_requests_create_time_ns", "job_requests", ["create_time_ns"], unique=False)
    op.create_index("ix_job_requests_job_id", "job_requests", ["job_id"], unique=False)
    op.create_table(
        "profile_requests",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("profile_name", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(), nullable=False),
        sa.Column("create_time_ns", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["profile_name"], ["profiles.name"], name=op.f("fk_profile_requests_profile_name"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant", "request_id", name=op.f("pk_profile_requests")),
    )
    op.create_index("ix_profile_requests_create_time_ns", "profile_requests", ["create_time_ns"], unique=False)
    op.create_index("ix_profile_requests_profile_name", "profile_requests", ["profile_name"], unique=False)
