"""What a producer signs with, and that ours, the stock tool and cosign verify it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from mlflow_governance.core import canonical
from mlflow_governance.core.manifest import Manifest
from mlflow_governance.errors import InvalidRequest, VerificationError
from mlflow_governance.evidence.attestation import SLSA_PROVENANCE, find_statements, statement
from mlflow_governance.evidence.authority import CertificateHolder, KeyHolder
from mlflow_governance.evidence.hashing import hash_directory
from mlflow_governance.evidence.interface import Case, EvidenceItem
from mlflow_governance.evidence.keys import load_private_key
from mlflow_governance.evidence.predicate import Purpose
from mlflow_governance.evidence.signature import verify_signature
from mlflow_governance.evidence.stamping import StampAuthority
from mlflow_governance.evidence.trust import Signer, TrustPolicy, Withdrawal
from mlflow_governance.submission.seal import Seal, SealOptions, open_seal
from tests.sigstore.certificates import CODE_SIGNING, Holder, Wish, below, pem, private_pem, root
from tests.sigstore.private import PrivateSigstore
from tests.unit.evidence.builders import PROVENANCE_BODY

NAME = "lab@example.com"
DAY = timedelta(days=1)
ROOT = root()
EVERYTHING = frozenset(Purpose)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = tmp_path / "model"
    model.mkdir()
    (model / "MLmodel").write_bytes(b"flavors: {}")
    return tmp_path


@pytest.fixture(scope="module")
def sigstore(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateSigstore]:
    with PrivateSigstore(tmp_path_factory.mktemp("sigstore")) as running:
        yield running


def holder(**changes: object) -> Holder:
    wish = {"name": "Lab", "sans": (x509.RFC822Name(NAME),), "usages": (CODE_SIGNING,), **changes}
    return below(ROOT, Wish(**wish))  # type: ignore[arg-type]


def written(folder: Path, who: Holder) -> SealOptions:
    (folder / "k.pem").write_bytes(private_pem(who.key))
    (folder / "k.pem").chmod(0o600)
    (folder / "chain.pem").write_bytes(pem(*who.chain))
    return SealOptions(key=folder / "k.pem", certificate=folder / "chain.pem")


def signed(folder: Path, seal: Seal) -> tuple[Manifest, tuple[EvidenceItem, ...]]:
    manifest = hash_directory(folder / "model")
    said = statement("model", manifest.digest, SLSA_PROVENANCE, PROVENANCE_BODY)
    return manifest, (
        EvidenceItem("model.sig", seal.model(manifest, "model")),
        EvidenceItem("attestations/p.intoto.json", seal.statement(canonical.encode(said))),
    )


def case(
    made: tuple[Manifest, tuple[EvidenceItem, ...]], policy: TrustPolicy, now: datetime
) -> Case:
    return Case(made[0], "model", made[1], policy, now)


def verifies(asked: Case) -> bool:
    try:
        verify_signature(asked)
        find_statements(asked, SLSA_PROVENANCE)
    except VerificationError:
        return False
    return True


def test_a_certificate_signs_what_ours_and_the_stock_tool_verify(folder: Path) -> None:
    made = signed(folder, open_seal(written(folder, holder())))
    policy = TrustPolicy(
        (Signer("lab", CertificateHolder(pem(ROOT.certificate).decode(), NAME), EVERYTHING),)
    )
    assert verifies(case(made, policy, datetime.now(UTC)))
    other = CertificateHolder(pem(ROOT.certificate).decode(), "other@example.com")
    assert not verifies(
        case(made, TrustPolicy((Signer("l", other, EVERYTHING),)), datetime.now(UTC))
    )

    (folder / "m.sig").write_bytes(made[1][0].data)
    (folder / "root.pem").write_bytes(pem(ROOT.certificate))
    command = [sys.executable, "-m", "model_signing", "verify", "certificate", "model",
               "--signature", "m.sig", "--certificate_chain", "root.pem"]  # fmt: skip
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=60, text=True)
    assert done.returncode == 0, done.stderr + done.stdout


def test_a_certificate_counts_while_it_is_valid_or_stamped_while_it_was(
    folder: Path, sigstore: PrivateSigstore
) -> None:
    now = datetime.now(UTC)
    options = written(folder, holder(until=now + timedelta(minutes=5)))
    by = CertificateHolder(pem(ROOT.certificate).decode(), NAME)
    signer = Signer("lab", by, EVERYTHING)
    tsa = StampAuthority.read("tsa", sigstore.tsa_chain)
    plain = signed(folder, open_seal(options))
    timed = replace(options, timestamp_url=sigstore.tsa_url)
    stamped = signed(folder, open_seal(timed))

    trusting = TrustPolicy((signer,), timestamping=(tsa,))
    later = now + DAY / 2
    assert verifies(case(plain, trusting, now + timedelta(minutes=1)))
    assert not verifies(case(plain, trusting, later))
    assert verifies(case(stamped, trusting, later))
    assert not verifies(case(stamped, TrustPolicy((signer,)), later))


def test_a_key_that_was_stolen_keeps_what_was_stamped_before(
    folder: Path, sigstore: PrivateSigstore
) -> None:
    now = datetime.now(UTC)
    options = written(folder, holder())
    key = SealOptions(options.key, timestamp_url=sigstore.tsa_url)
    before = signed(folder, open_seal(key))
    unstamped = signed(folder, open_seal(SealOptions(options.key)))
    by = KeyHolder(load_private_key(Path(str(options.key))).public)

    def policy(at: datetime) -> TrustPolicy:
        signer = Signer("lab", by, EVERYTHING, withdrawn=Withdrawal(at, "stolen"))
        return TrustPolicy(
            (signer,), timestamping=(StampAuthority.read("tsa", sigstore.tsa_chain),)
        )

    soon = now + timedelta(minutes=10)
    assert verifies(case(before, policy(soon), soon))
    assert not verifies(case(unstamped, policy(soon), soon))
    assert not verifies(case(before, policy(now - DAY), soon))  # stamped after it was stolen


def test_a_stamp_of_the_future_proves_nothing(folder: Path, sigstore: PrivateSigstore) -> None:
    options = written(folder, holder())
    sigstore.tsa.ahead = DAY
    try:
        made = signed(folder, open_seal(SealOptions(options.key, timestamp_url=sigstore.tsa_url)))
    finally:
        sigstore.tsa.ahead = timedelta()
    by = KeyHolder(load_private_key(Path(str(options.key))).public)
    gone = Withdrawal(datetime.now(UTC) + 2 * DAY, "left")
    policy = TrustPolicy(
        (Signer("lab", by, EVERYTHING, withdrawn=gone),),
        timestamping=(StampAuthority.read("tsa", sigstore.tsa_chain),),
    )

    assert not verifies(case(made, policy, datetime.now(UTC)))


@pytest.mark.parametrize(
    "options",
    [
        SealOptions(),
        SealOptions(key="k.pem", keyless=True),
        SealOptions(keyless=True, timestamp_url="https://tsa.example"),
        SealOptions(keyless=True, certificate=Path("chain.pem")),
    ],
)
def test_one_signs_in_one_way(options: SealOptions) -> None:
    with pytest.raises(InvalidRequest):
        open_seal(options)


def test_a_chain_of_another_key_is_refused(folder: Path) -> None:
    options = written(folder, holder())
    (folder / "chain.pem").write_bytes(pem(*holder().chain))

    with pytest.raises(InvalidRequest, match="of another key"):
        open_seal(options)


def test_what_a_key_signs_stays_a_plain_envelope(folder: Path) -> None:
    options = written(folder, holder())
    _, items = signed(folder, open_seal(SealOptions(options.key)))

    assert set(json.loads(items[1].data)) == {"payload", "payloadType", "signatures"}
