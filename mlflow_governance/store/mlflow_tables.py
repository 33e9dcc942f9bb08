"""The few of MLflow's own rows that we touch, or compare with ours."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage

# A MetaData of its own: MLflow creates and migrates this table, we only describe it.
model_versions = sa.Table(
    "model_versions",
    sa.MetaData(),
    sa.Column("workspace", sa.String(63), primary_key=True),
    sa.Column("name", sa.String(256), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("current_stage", sa.String(20)),
    sa.Column("last_updated_time", sa.BigInteger),
    sa.Column("source", sa.String(500)),
    sa.Column("storage_location", sa.String(500)),
)

model_aliases = sa.Table(
    "registered_model_aliases",
    sa.MetaData(),
    sa.Column("workspace", sa.String(63), primary_key=True),
    sa.Column("name", sa.String(256), primary_key=True),
    sa.Column("alias", sa.String(256), primary_key=True),
    sa.Column("version", sa.Integer),
)

version_tags = sa.Table(
    "model_version_tags",
    sa.MetaData(),
    sa.Column("workspace", sa.String(63), primary_key=True),
    sa.Column("name", sa.String(256), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("key", sa.String(250), primary_key=True),
    sa.Column("value", sa.Text),
)

model_tags = sa.Table(
    "registered_model_tags",
    sa.MetaData(),
    sa.Column("workspace", sa.String(63), primary_key=True),
    sa.Column("name", sa.String(256), primary_key=True),
    sa.Column("key", sa.String(250), primary_key=True),
    sa.Column("value", sa.String(5000)),
)


_v = model_versions.c
_MOVE = (
    sa.update(model_versions)
    .where(
        _v.workspace == sa.bindparam("by_workspace"),
        _v.name == sa.bindparam("by_name"),
        _v.version == sa.bindparam("by_version"),
        _v.current_stage == sa.bindparam("by_stage"),
    )
    .values(current_stage=sa.bindparam("stage"), last_updated_time=sa.bindparam("at"))
)
"""Built once: building a statement costs more than running it."""


class MlflowStageTable:
    """Writes MLflow's own stage by compare-and-swap, in the session it is given."""

    def __call__(
        self, session: Session, ref: VersionRef, origin: Stage, target: Stage, at: datetime
    ) -> int:
        """Returns how many rows changed: 1, or 0 when the stage was not ``origin``."""
        values = {
            "by_workspace": ref.workspace,
            "by_name": ref.name,
            "by_version": ref.version,
            "by_stage": origin.value,
            "stage": target.value,
            "at": int(at.timestamp() * 1000),
        }
        return session.connection().execute(_MOVE, values).rowcount
