"""What any release signed verifies in this one, and says the same."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from dataclasses import replace

import pytest

from mlflow_governance.errors import EvidenceMissing, VerificationError
from mlflow_governance.evidence.examiner import default_verifiers
from mlflow_governance.evidence.trust import TrustPolicy
from tests.golden.sets import OTHERS, SETS, Golden, GoldenSet, golden_cases, golden_sets
from tests.sigstore.offline import no_network

ROOT = SETS.parents[1]
NEEDS_NO_FILE = {"malware", "licences"}
"""Kinds whose facts come from the model's own bytes or from another kind's items."""


@pytest.mark.parametrize("golden", golden_cases(), ids=str)
def test_what_a_release_signed_still_verifies_without_the_network(golden: Golden) -> None:
    with no_network():
        found = golden.verify()
    # A later release may prove more; what an earlier one proved stays as it was.
    assert {name: found.get(name) for name in golden.facts} == golden.facts


@pytest.mark.parametrize(
    "golden", [case for case in golden_cases() if case.verified_by != "ledger"], ids=str
)
def test_with_nobody_trusted_nothing_of_it_verifies(golden: Golden) -> None:
    with pytest.raises(VerificationError):
        replace(golden, of=_Strangers(golden.of.folder)).verify()


@pytest.mark.parametrize(
    "golden", [case for case in golden_cases() if case.verified_by not in OTHERS], ids=str
)
def test_without_its_items_the_evidence_is_missing(golden: Golden) -> None:
    with pytest.raises(EvidenceMissing):
        golden.verify({})


class _Strangers(GoldenSet):
    """A set whose signers nobody trusts."""

    trust = TrustPolicy.empty()


def test_this_release_has_a_set_with_every_kind_of_evidence() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    (current,) = [found for found in golden_sets() if found.release == project["version"]]
    kinds = {str(verifier.kind) for verifier in default_verifiers(None)} - NEEDS_NO_FILE
    assert {case.verified_by for case in current.cases} == kinds | set(OTHERS)


@pytest.mark.parametrize("found", golden_sets(), ids=lambda found: found.release)
def test_a_set_is_small_and_holds_no_private_key(found: GoldenSet) -> None:
    files = [path for path in found.folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 200_000
    assert not [path for path in files if b"PRIVATE KEY" in path.read_bytes()]


def test_the_generator_does_not_touch_a_set_that_is_there() -> None:
    command = [sys.executable, "-m", "tests.golden"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "never changed" in done.stdout
