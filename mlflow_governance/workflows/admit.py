"""The download gate: may these bytes be handed out?

This is the hot path. Signatures are not verified again here: the outcomes proved when the
version entered its stage are used, unless the trust policy has changed since. The verdict
itself is made anew each time, from the stage, revocation and policy of now.
"""

from __future__ import annotations

from typing import Literal

from mlflow_governance.core.dossier import Gate, Outcome
from mlflow_governance.core.event import Act
from mlflow_governance.evidence.interface import Kind
from mlflow_governance.workflows.judge import Judgement, examine, standing, weigh
from mlflow_governance.workflows.ports import Ports, Request, VersionRecord
from mlflow_governance.workflows.record import write_denial

Door = Literal["registry", "artifact"]


def admit(ports: Ports, request: Request, door: Door) -> VersionRecord:
    """Ask the download gate; a denial is recorded and raised.

    Args:
        ports: everything a workflow needs.
        request: who wants the bytes of which version.
        door: ``registry`` for ``models:/name/…``, ``artifact`` for a raw artifact path.

    Raises:
        NotFound: the version is not governed.
        Denied: the gate said no.
    """
    judgement = _judge(ports, request, door)
    if not judgement.decision.allow:
        write_denial(ports, judgement, Act.DOWNLOAD_DENIED)
        raise judgement.refuse(f"{request.ref} may not be downloaded")
    return judgement.record


def permits(ports: Ports, request: Request, door: Door) -> bool:
    """The same question without a record of a no, for listings and pages."""
    return _judge(ports, request, door).decision.allow


def _judge(ports: Ports, request: Request, door: Door) -> Judgement:
    with ports.store.read() as reading:
        found = standing(reading, request.ref, approvals=False)
    return weigh(ports, Gate.DOWNLOAD, request, {"door": door}, found, proved(ports, found.record))


def proved(ports: Ports, record: VersionRecord) -> dict[Kind, Outcome]:
    """The facts proved for a version, proved again if the trust policy changed."""
    if record.facts is not None and record.trust_digest == ports.examiner.trust_digest:
        return dict(record.facts)
    return examine(ports, record)
