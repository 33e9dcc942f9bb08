"""Runs revisions on the connection ``migrate.py`` holds the lock on."""

from alembic import context

from mlflow_governance.store.migrate import VERSION_TABLE
from mlflow_governance.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
)
with context.begin_transaction():
    context.run_migrations()
