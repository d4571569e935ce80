"""Runs the migrations on the connection that `store.sqlite` hands over."""

from alembic import context

from breezeway_server.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
