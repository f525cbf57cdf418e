"""Alembic's environment. The connection is handed in by scaiqueue.rows.migrate."""

from __future__ import annotations

from alembic import context

from scaiqueue.rows.migrate import VERSION_TABLE
from scaiqueue.rows.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    transactional_ddl=connection.dialect.name == "sqlite",
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
