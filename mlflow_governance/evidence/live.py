"""The examiner of a running registry: it follows its trust policy and remembers facts briefly."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from mlflow_governance.core.digest import Digest, of_bytes
from mlflow_governance.core.dossier import Outcome
from mlflow_governance.core.manifest import Manifest
from mlflow_governance.errors import ConfigurationError, VerificationError
from mlflow_governance.evidence import trust_file
from mlflow_governance.evidence.examiner import EvidenceExaminer
from mlflow_governance.evidence.inspection import Inspection
from mlflow_governance.evidence.interface import EvidenceItem, Kind, Verifier, Watching
from mlflow_governance.evidence.trust import TrustPolicy

_FACTS_LAST = timedelta(minutes=1)
_MAX_PROVED = 256

_Stamp = tuple[int, int, int]
"""What changes when a file does: modification time, size, inode."""


class LiveExaminer:
    """Examines under the trust policy as the file says *now*, without a restart.

    A trust policy that cannot be read trusts nobody: every outcome is an error that says so.

    Outcomes are facts about given bytes under a given trust policy; they are kept for a minute,
    so that a key's last day is noticed within one; new advisories are noticed at once. Verdicts
    are never kept.

    Args:
        trust: ``trust.yaml``.
        verifiers: one for each kind of evidence.
        refuse: raises ConfigurationError for a policy that trusts whom it must not.
    """

    def __init__(
        self,
        trust: Path,
        verifiers: Sequence[Verifier],
        refuse: Callable[[TrustPolicy], None] = lambda _: None,
    ) -> None:
        self._path = trust
        self._refuse = refuse
        self._verifiers = tuple(verifiers)
        self._lock = threading.Lock()
        self._seen: tuple[_Stamp | None, ...] | None = None
        self._key_files: tuple[Path, ...] = ()
        self._examiner: EvidenceExaminer | None = None
        self._problem = ""
        self._proved: dict[object, tuple[datetime, dict[Kind, Outcome]]] = {}

    @property
    def trust_digest(self) -> Digest:
        """Digest of the trust policy in force; of its problem when it has one."""
        examiner = self._current()
        return examiner.trust_digest if examiner else of_bytes(self._problem.encode())

    @property
    def trust_document(self) -> Mapping[str, Any]:
        """The trust policy in force; what is wrong with it where it is unusable."""
        examiner = self._current()
        return examiner.trust_document if examiner else {"problem": self._problem}

    def examine(
        self,
        manifest: Manifest,
        model_name: str,
        items: Sequence[EvidenceItem],
        now: datetime,
        inspection: Inspection | None = None,
    ) -> dict[Kind, Outcome]:
        """See :class:`~mlflow_governance.workflows.ports.Examiner`."""
        examiner = self._current()
        if examiner is None:
            return dict.fromkeys(Kind, Outcome.error(self._problem))
        seen = tuple((item.name, of_bytes(item.data)) for item in items)
        scanner = inspection.scanner if inspection else None
        states = tuple(v.state() for v in self._verifiers if isinstance(v, Watching))
        key = (manifest.digest, model_name, seen, examiner.trust_digest, scanner, states)
        known = self._proved.get(key)
        if known is not None and abs(now - known[0]) < _FACTS_LAST:
            return dict(known[1])
        outcomes = examiner.examine(manifest, model_name, items, now, inspection)
        if len(self._proved) >= _MAX_PROVED:
            self._proved.clear()
        self._proved[key] = (now, outcomes)
        return dict(outcomes)

    def recognise(
        self,
        manifest: Manifest,
        model_name: str,
        item: EvidenceItem,
        now: datetime,
        beside: Sequence[EvidenceItem] = (),
    ) -> None:
        """See :class:`~mlflow_governance.workflows.ports.Examiner`."""
        examiner = self._current()
        if examiner is None:
            raise VerificationError(self._problem)
        examiner.recognise(manifest, model_name, item, now, beside)

    def _current(self) -> EvidenceExaminer | None:
        with self._lock:
            try:
                status = os.stat(self._path)
            except OSError as error:
                self._seen, self._examiner = None, None
                self._problem = f"the trust policy cannot be read: {error}"
                return None
            seen = (_stamp(status), *map(_stamp_of, self._key_files))
            if seen != self._seen:
                self._load(status)
            return self._examiner

    def _load(self, status: os.stat_result) -> None:
        try:
            self._key_files = trust_file.files(self._path)
            self._seen = (_stamp(status), *map(_stamp_of, self._key_files))
            policy = TrustPolicy.load(self._path)
            self._refuse(policy)
            self._examiner = EvidenceExaminer(policy, self._verifiers)
            self._problem = ""
        except ConfigurationError as error:
            self._seen = (_stamp(status), *map(_stamp_of, self._key_files))
            self._examiner, self._problem = None, f"the trust policy is unusable: {error.message}"


def _stamp(status: os.stat_result) -> _Stamp:
    return status.st_mtime_ns, status.st_size, status.st_ino


def _stamp_of(path: Path) -> _Stamp | None:
    try:
        return _stamp(os.stat(path))
    except OSError:
        return None
