"""What hangs on a registered model's name: aliases, deletion, renaming, and MLflow's webhooks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import flask

from mlflow_governance.core.actor import Actor
from mlflow_governance.core.event import Act
from mlflow_governance.errors import Conflict, InvalidRequest
from mlflow_governance.plugin.assembly import Assembly
from mlflow_governance.plugin.refusals import refusing
from mlflow_governance.workflows.administer import ModelChange, change_model, change_webhook
from mlflow_governance.workflows.alias import AliasMove, move_alias
from mlflow_governance.workflows.delete import delete_version
from mlflow_governance.workflows.ports import Ports, Request
from mlflow_governance.workflows.refuse import Refused, refuse

if TYPE_CHECKING:
    from typing import Any as _Base  # MLflow ships no types, and GovernedStore stands on us
else:
    _Base = object

FROM_VERSION = "X-Governance-From-Version"
"""Header: the version an alias must point at for a swap to happen (``0``: at none)."""


class Names(_Base):
    """What ``GovernedStore`` does about names."""

    governance: Assembly

    # Aliases ----------------------------------------------------------------------------------

    @refusing
    def set_registered_model_alias(self, name: str, alias: str, version: Any) -> None:
        """Point an alias at a version, if the alias gate permits."""
        self._move_alias(name, alias, version, delete=False)

    @refusing
    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        """Take an alias away, if the alias gate permits."""
        self._move_alias(name, alias, None, delete=True)

    def _move_alias(self, name: str, alias: str, version: Any, *, delete: bool) -> None:
        base: Any = super()

        def apply() -> None:
            if delete:
                base.delete_registered_model_alias(name, alias)
            else:
                base.set_registered_model_alias(name, alias, version)

        before = self._aliased(name, alias)
        _refuse_other(alias, before)
        ends = [self._ref(name, end) for end in (before, version) if end is not None]
        if not ends or all(self._is_outside(end) for end in ends):
            apply()
            return
        ref = self._ref(name, before if delete else version)
        request = Request(self.governance.identity.current(), ref, self._reason())
        move_alias(self.governance.ports, request, AliasMove(alias, before, delete), apply)

    def _aliased(self, name: str, alias: str) -> int | None:
        with self.ManagedSessionMaker() as session:
            row = self._get_registered_model_alias(session, name, alias)
            return int(row.version) if row is not None else None

    # Deletion and renaming --------------------------------------------------------------------

    @refusing
    def delete_model_version(self, name: str, version: Any) -> None:
        """Delete a version that was never released."""
        ref = self._ref(name, version)
        if self._is_outside(ref):
            super().delete_model_version(name, version)
            return
        self._delete(Request(self.governance.identity.current(), ref))

    def _delete(self, request: Request) -> None:
        base: Any = super()
        name, version = request.ref.name, request.ref.version
        delete_version(
            self.governance.ports, request, lambda: base.delete_model_version(name, version)
        )

    @refusing
    def delete_registered_model(self, name: str) -> None:
        """MLflow's own, for models without governed versions."""
        base: Any = super()
        change = ModelChange(Act.MODEL_DELETED, "delete", name, self._get_active_workspace())
        change_model(*self._asked(), change, lambda: base.delete_registered_model(name))

    @refusing
    def rename_registered_model(self, name: str, new_name: str) -> Any:
        """MLflow's own, for models without governed versions."""
        base: Any = super()
        rules, workspace = self.governance.ports.rules, self._get_active_workspace()
        if (rules.exclusion(name) is None) != (rules.exclusion(new_name) is None):
            refuse(
                *self._asked(),
                Refused("rename", {"name": name, "workspace": workspace}),
                f"{name!r} and {str(new_name)[:80]!r} are not both governed, or both excluded",
                "Register the model under the other name instead.",
            )
        facts = {"new_name": new_name}
        change = ModelChange(Act.MODEL_RENAMED, "rename", name, workspace, facts)
        return change_model(
            *self._asked(), change, lambda: base.rename_registered_model(name, new_name)
        )

    # MLflow's own webhooks --------------------------------------------------------------------

    @refusing
    def create_webhook(self, *args: Any, **kwargs: Any) -> Any:
        """MLflow's own, recorded."""
        base: Any = super()
        return self._webhook("create", lambda: base.create_webhook(*args, **kwargs))

    @refusing
    def update_webhook(self, webhook_id: str, *args: Any, **kwargs: Any) -> Any:
        """MLflow's own, recorded."""
        base: Any = super()
        return self._webhook("update", lambda: base.update_webhook(webhook_id, *args, **kwargs))

    @refusing
    def delete_webhook(self, webhook_id: str) -> None:
        """MLflow's own, recorded."""
        base: Any = super()

        def delete() -> None:
            base.delete_webhook(webhook_id)

        self._webhook("delete", delete, {"webhook_id": webhook_id})

    def _webhook(
        self, asked: str, act: Callable[[], Any], known: Mapping[str, Any] | None = None
    ) -> Any:
        def apply() -> tuple[Any, Mapping[str, Any]]:
            webhook = act()
            return webhook, known or {
                "webhook_id": webhook.webhook_id,
                "status": str(webhook.status),
                "events": sorted(str(event) for event in webhook.events),
            }

        return change_webhook(*self._asked(), asked, apply)

    def _asked(self) -> tuple[Ports, Actor]:
        return self.governance.ports, self.governance.identity.current()


def _refuse_other(alias: str, before: int | None) -> None:
    """Hold a caller to the version they said the alias points at.

    Raises:
        InvalidRequest: the header is not a number.
        Conflict: it points elsewhere.
    """
    said = flask.request.headers.get(FROM_VERSION) if flask.has_request_context() else None
    if said is None:
        return
    if not (said.isascii() and said.isdigit()):
        raise InvalidRequest(f"{FROM_VERSION} is a version number, or 0")
    if int(said) != (before or 0):
        raise Conflict(
            f"the alias {alias!r} does not point at version {said} any more",
            advice="Look again and repeat.",
        )
