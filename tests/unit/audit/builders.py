"""Builders for tests of what leaves the house: ledgers in memory, exports, and the verifier."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType

from mlflow_governance.audit.export import Exported, KeptCheckpoint, export_ledger
from mlflow_governance.ledger import checkpoint
from mlflow_governance.ledger.handover import KeyHistory
from mlflow_governance.ledger.merkle import Growing, leaf_hash
from mlflow_governance.ledger.note import Ed25519Signer
from tests.unit.ledger.builders import encoded, signer

VERIFIER = Path(__file__).parents[3] / "mlflow_governance" / "audit" / "verifier.py"


@dataclass
class MemoryLedger:
    """A ledger that can be exported, and tampered with."""

    signer: Ed25519Signer = field(default_factory=signer)
    rows: list[tuple[int, bytes, bytes]] = field(default_factory=list)
    note: str = ""
    asked: int = 0
    """Rows handed out."""
    _tree: Growing = field(default_factory=Growing)

    def append(self, *entries: bytes) -> None:
        for data in entries or (encoded(len(self.rows)),):
            leaf = leaf_hash(data)
            self.rows.append((len(self.rows), data, leaf))
            self._tree.append(leaf)
        self.note = checkpoint.make(self._tree.size, self._tree.root, self.signer)

    def grow(self, size: int) -> MemoryLedger:
        self.append(*(encoded(index) for index in range(len(self.rows), size)))
        return self

    def head(self) -> str:
        return self.note

    def stored(self, start: int, end: int) -> Iterator[tuple[int, bytes, bytes]]:
        for row in self.rows[start:end]:
            self.asked += 1
            yield row

    def first_untold(self, gone: Sequence[range], key: KeyHistory, size: int) -> int | None:
        return None  # a registry that would not notice: the verifier has to

    def kept(self) -> KeptCheckpoint:
        return KeptCheckpoint(self.note)

    def export(self, folder: Path, *kept: KeptCheckpoint) -> Exported:
        return export_ledger(self, folder, KeyHistory((self.signer.key,)), kept)

    @property
    def vkey(self) -> str:
        return self.signer.key.encode()


@cache
def verifier() -> ModuleType:
    """The verifier as a module of its own, which is how the file is used."""
    spec = importlib.util.spec_from_file_location("verify", VERIFIER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class Answer:
    """How a verification ended."""

    code: int
    report: dict[str, object]

    @property
    def problem(self) -> str:
        return str(self.report.get("problem", ""))


def check(*words: object) -> Answer:
    """The verifier on these words; nothing but its own two errors may end it."""
    module = verifier()
    try:
        return Answer(0, module.check([str(word) for word in words]))
    except module.DoesNotVerifyError as error:
        return Answer(1, {"problem": str(error)})
    except module.NotCheckedError as error:
        return Answer(2, {"problem": str(error)})


_ALONE = """
import runpy, sys
sys.modules["mlflow_governance"] = sys.modules["mlflow"] = None  # whoever imports them fails
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(*words: object, cwd: Path) -> Answer:
    """The verifier as an auditor runs it: alone in a folder, with nothing of ours in reach."""
    script = cwd / "verify.py"
    script.write_bytes(VERIFIER.read_bytes())
    command = [sys.executable, "-I", "-c", _ALONE, str(script), *map(str, words), "--json"]
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, env=clean)
    assert not done.stderr or done.returncode == 2, done.stderr
    return Answer(done.returncode, json.loads(done.stdout) if done.stdout else {})
