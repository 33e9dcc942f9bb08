"""What the validator can find: a stable code each, with its meaning and where to mend it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, TypeVar

from mlflow_governance.core.model_ref import DEFAULT_WORKSPACE
from mlflow_governance.errors import GovernanceError

_Row = TypeVar("_Row")


class Severity(StrEnum):
    """An error contradicts the record; a warning is worth knowing and contradicts nothing."""

    ERROR = "error"
    WARNING = "warning"


class Check(NamedTuple):
    """One thing that is looked at: what is wrong when it is found, and what to do then."""

    meaning: str
    mend: str
    severity: Severity = Severity.ERROR


_RESTORE = "Somebody wrote to the database. Restore it from a backup and find out who could."
_LEDGER = "mlflow-governance ledger verify; keep the database as it is and compare with a backup"
_QUARANTINE = "mlflow-governance quarantine {subject} --reason tampered, then restore the files"
_JUDGE = "mlflow-governance judge {subject}"
_WARNING = Severity.WARNING

CHECKS: dict[str, Check] = {
    "VAL-001": Check("the ledger does not verify", _LEDGER),
    "VAL-002": Check("a ledger entry contradicts those before it", _LEDGER),
    "VAL-003": Check("a row of the database cannot be read", _RESTORE),
    "VAL-010": Check("a version of the ledger is gone from the registry's table", _RESTORE),
    "VAL-011": Check("a version stands in the registry's table and in no ledger entry", _RESTORE),
    "VAL-012": Check("two governed versions have one name and number", _RESTORE),
    "VAL-013": Check("the registry's stage is not the ledger's", _RESTORE),
    "VAL-014": Check("the registry's digest is not the ledger's", _RESTORE),
    "VAL-015": Check("what binds a version to policy, trust or its past was changed", _RESTORE),
    "VAL-016": Check("the place of a version is not the one it was registered with", _RESTORE),
    "VAL-017": Check("the submitter is not the person the ledger commits to", _RESTORE),
    "VAL-018": Check("a governed version has another name or number than in the ledger", _RESTORE),
    "VAL-019": Check("the proved facts are not those of the decision they come from", _RESTORE),
    "VAL-020": Check("MLflow's stage is not the ledger's", _RESTORE),
    "VAL-021": Check("MLflow's row of a governed version is gone or marked deleted", _RESTORE),
    "VAL-022": Check("MLflow has a version that nobody governs", _JUDGE, _WARNING),
    "VAL-023": Check("MLflow says other files belong to the version", _RESTORE),
    "VAL-024": Check("a tag of the registry was changed in MLflow", _JUDGE),
    "VAL-025": Check("a governed model is marked as a prompt", _RESTORE),
    "VAL-026": Check("MLflow has a version again that was deleted", _RESTORE),
    "VAL-030": Check(
        "an alias points at another version than it was moved to",
        "Move it through the registry: set_registered_model_alias(name, alias, version)",
    ),
    "VAL-031": Check(
        "an alias is gone that nobody deleted",
        "Set it again: set_registered_model_alias(name, alias, version)",
    ),
    "VAL-032": Check(
        "an alias stands in MLflow that nobody set through the registry",
        "Set it again (it is judged and recorded), or delete it:"
        " delete_registered_model_alias(name, alias)",
    ),
    "VAL-033": Check(
        "an alias points at a version that is not there",
        "Point it at another: set_registered_model_alias(name, alias, version)",
    ),
    "VAL-034": Check("what an alias returns to was changed", _RESTORE),
    "VAL-040": Check("a withdrawn digest is not blocked", _RESTORE),
    "VAL-041": Check("a digest is blocked that nobody withdrew", _RESTORE),
    "VAL-042": Check("a digest is blocked as something else than it was withdrawn", _RESTORE),
    "VAL-050": Check("a stored decision was changed", _RESTORE),
    "VAL-051": Check("a decision of the ledger is gone", _RESTORE),
    "VAL-052": Check("a decision is not the one in the ledger", _RESTORE),
    "VAL-053": Check("a decision is filed as something it does not say", _RESTORE),
    "VAL-054": Check("a stored document was changed", _RESTORE),
    "VAL-055": Check("a stored document is gone", _RESTORE),
    "VAL-056": Check("an approval stands that nobody gave", _RESTORE),
    "VAL-057": Check("an approval or objection is gone", _RESTORE),
    "VAL-058": Check("an approval counts that was withdrawn, or the other way round", _RESTORE),
    "VAL-059": Check("evidence is gone that was attached", _RESTORE),
    "VAL-060": Check("a file of the model was changed", _QUARANTINE),
    "VAL-061": Check("a file of the model is missing", _QUARANTINE),
    "VAL-062": Check("a file was added to the model", _QUARANTINE),
    "VAL-063": Check("the files of the model cannot be read", _QUARANTINE),
    "VAL-064": Check("an attached file is missing beside the model", _RESTORE),
    "VAL-065": Check("an attached file was changed beside the model", _RESTORE),
    "VAL-066": Check(
        "a file stands among the attached ones that nobody attached",
        "Look at it and remove it from the artifact store.",
        _WARNING,
    ),
    "VAL-067": Check(
        "the worker gave up on a task", "mlflow-governance doctor --backend-store-uri URI", _WARNING
    ),
    "VAL-070": Check("the policy in force is not the ledger's", _RESTORE),
    "VAL-071": Check("a policy that was in force is gone", _RESTORE),
    "VAL-072": Check("a kept policy is another than it is called", _RESTORE),
    "VAL-073": Check("a policy is kept that was never in force", _RESTORE),
    "VAL-074": Check("a proposed policy, or a word about it, is not the ledger's", _RESTORE),
    "VAL-075": Check("a proposed policy, or a word about it, is gone", _RESTORE),
    "VAL-076": Check("when a policy was in force is not the ledger's", _RESTORE),
    "VAL-077": Check("a word about a policy counts that was withdrawn, or otherwise", _RESTORE),
    "VAL-080": Check("a name or reason is gone that no erasure took", _RESTORE),
    "VAL-081": Check("a name or reason was changed", _RESTORE),
    "VAL-082": Check("what passes for erased is not what the ledger says was erased", _RESTORE),
    "VAL-083": Check(
        "a version was released on other approvals than stood then",
        "mlflow-governance quarantine {subject} --reason tampered, then judge it again",
    ),
}
"""Every check by its code. Codes are stable: one is never used for something else."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One disagreement.

    Args:
        code: a key of :data:`CHECKS`.
        subject: the version (``churn/3``), alias (``churn@champion``), file
            (``churn/3:model.pkl``), digest, decision or entry it is about.
        registry: what the registry's tables, MLflow's, or the files say.
        record: what the ledger says.
        severity: as the check has it, unless the finding weighs less.
    """

    code: str
    subject: str
    registry: str
    record: str
    severity: Severity

    @property
    def meaning(self) -> str:
        """What is wrong, in general."""
        return CHECKS[self.code].meaning

    @property
    def mend(self) -> str:
        """The command that mends it, or where to look."""
        return CHECKS[self.code].mend.replace("{subject}", self.subject.partition(":")[0])

    def to_document(self) -> dict[str, str]:
        """The finding as JSON."""
        return {
            "code": self.code,
            "severity": self.severity.value,
            "subject": self.subject,
            "meaning": self.meaning,
            "registry": self.registry,
            "record": self.record,
            "mend": self.mend,
        }


def found(
    code: str, subject: str, registry: object, record: object, severity: Severity | None = None
) -> Finding:
    """A finding in the severity of its check, or in a lesser one; None is shown as nothing."""
    return Finding(
        code, subject, _shown(registry), _shown(record), severity or CHECKS[code].severity
    )


def named(workspace: str, name: str, rest: str) -> str:
    """``churn/3``, with the workspace where it is not the default one."""
    plain = f"{name}{rest}"
    return plain if workspace == DEFAULT_WORKSPACE else f"{plain} in {workspace}"


def each(
    rows: Iterable[_Row],
    check: Callable[[_Row], Iterator[Finding]],
    subject: Callable[[_Row], str],
) -> Iterator[Finding]:
    """Check row by row; a row no check can make sense of is a finding and stops no other.

    Raises:
        GovernanceError: something is away (the database, the artifact store).
    """
    for row in rows:
        try:
            yield from check(row)
        except GovernanceError as error:
            if error.http_status >= 500:
                raise
            yield found("VAL-003", subject(row), error.message, "a row as the registry writes it")
        except Exception as error:
            yield found("VAL-003", subject(row), repr(error)[:200], "a row as the registry writes")


def _shown(value: object) -> str:
    return "nothing" if value is None or value == "" else str(value)[:400]
