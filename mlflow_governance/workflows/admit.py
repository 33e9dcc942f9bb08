"""The download gate: may these bytes be handed out?

This is the hot path. Signatures are not verified again here: the outcomes proved when the
version entered its stage are used, unless the trust policy has changed since. The verdict
itself is made anew each time, from the stage, revocation and policy of now.
"""

from __future__ import annotations

from typing import Literal

from mlflow_governance.core.decision import Decision
from mlflow_governance.core.dossier import Gate, Outcome
from mlflow_governance.core.event import Act
from mlflow_governance.evidence.interface import Kind
from mlflow_governance.workflows.judge import Judgement, examine, judge
from mlflow_governance.workflows.ports import Ports, Request, VersionRecord
from mlflow_governance.workflows.record import write_denial

Door = Literal["registry", "artifact"]


def admit(ports: Ports, request: Request, record: VersionRecord, door: Door) -> Decision:
    """Ask the download gate; a denial is recorded and raised.

    Args:
        ports: everything a workflow needs.
        request: who wants the bytes of which version.
        record: the version as just read.
        door: ``registry`` for ``models:/name/…``, ``artifact`` for a raw artifact path.

    Raises:
        Denied: the gate said no.
    """
    judgement = _judge(ports, request, record, door)
    if not judgement.decision.allow:
        write_denial(ports, judgement, Act.DOWNLOAD_DENIED)
        raise judgement.refuse(f"{request.ref} may not be downloaded")
    return judgement.decision


def permits(ports: Ports, request: Request, record: VersionRecord, door: Door) -> bool:
    """The same question without a record of a no, for listings and pages."""
    return _judge(ports, request, record, door).decision.allow


def _judge(ports: Ports, request: Request, record: VersionRecord, door: Door) -> Judgement:
    return judge(ports, Gate.DOWNLOAD, request, {"door": door}, proved(ports, record))


def proved(ports: Ports, record: VersionRecord) -> dict[Kind, Outcome]:
    """The facts proved for a version, proved again if the trust policy changed."""
    if record.facts is not None and record.trust_digest == ports.examiner.trust_digest:
        return dict(record.facts)
    return examine(ports, record)
