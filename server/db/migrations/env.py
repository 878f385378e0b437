"""Runs the revisions on the connection that `server.db.migrate` hands over."""

from alembic import context

from server.db.base import load_tables

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=load_tables(), render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
