"""RFC 3161 time stamps beside checkpoints, made by a real authority and by a builder of our own."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mlflow_governance.audit.export import KeptCheckpoint
from tests.golden.mutate import flipped_bits
from tests.sigstore import der, tsa
from tests.sigstore.certificates import CODE_SIGNING, Holder, pem, private_pem
from tests.sigstore.tsa import Tsa
from tests.unit.audit.builders import Answer, MemoryLedger, check, verifier
from tests.unit.audit.evidence import told, zipped

NOW = datetime.now(UTC).replace(microsecond=0)
TSA = Tsa(tsa.authority())


@pytest.fixture(scope="module")
def ledger() -> MemoryLedger:
    return MemoryLedger().grow(20)


def _held(ledger: MemoryLedger, stamp: bytes, roots: bytes, folder: Path) -> Answer:
    ledger.export(folder / "out", KeptCheckpoint(ledger.note, stamp))
    (folder / "roots.pem").write_bytes(roots)
    words = ("--key", ledger.vkey, "--tsa-root", folder / "roots.pem")
    return check("ledger", folder / "out", *words)


def _issuers(holder: Holder = TSA.holder) -> bytes:
    return pem(*holder.chain[1:])


def test_a_stamp_says_when_a_checkpoint_was_there(ledger: MemoryLedger, tmp_path: Path) -> None:
    stamp = TSA.stamp(ledger.note.encode(), NOW - timedelta(hours=1))
    answer = _held(ledger, stamp, _issuers(), tmp_path)
    at = (NOW - timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    assert (answer.code, answer.report.get("stamped")) == (0, [f"20 entries at {at}"]), answer
    assert answer.report["stamps_not_checked"] == 0
    unasked = check("ledger", tmp_path / "out", "--key", ledger.vkey)
    assert (unasked.report["stamped"], unasked.report["stamps_not_checked"]) == ([], 1)


def test_a_bare_token_is_read_like_the_response_around_it(ledger: MemoryLedger) -> None:
    _status, token = der.parts(TSA.stamp(b"note", NOW))
    roots = verifier().x509.load_pem_x509_certificates(_issuers())
    assert verifier().verify_stamp(token, b"note", roots, "").startswith(str(NOW.year))


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        (lambda note: TSA.stamp(b"another note", NOW), "of something else"),
        (lambda note: TSA.stamp(note, NOW) + b"\0", "follows the time stamp"),
        (lambda note: b"junk", "no DER"),
        (lambda note: TSA.stamp(note, NOW - timedelta(days=36500)), "was not valid"),
        (lambda note: Tsa(tsa.authority()).stamp(note, NOW), "none of the roots"),
        (lambda note: Tsa(tsa.authority(usages=[CODE_SIGNING])).stamp(note, NOW), "alone"),
        (lambda note: Tsa(tsa.authority(usage_critical=False)).stamp(note, NOW), "alone"),
        (lambda note: TSA.stamp(note, NOW, embed=False), "has not one signer"),
    ],
)  # fmt: skip
def test_a_stamp_that_is_none_is_refused(
    stamp: Callable[[bytes], bytes], expected: str, ledger: MemoryLedger, tmp_path: Path
) -> None:
    answer = _held(ledger, stamp(ledger.note.encode()), _issuers(), tmp_path)
    assert (answer.code, expected in answer.problem) == (1, True), answer


def test_no_flipped_bit_of_what_is_signed_passes() -> None:
    """Every bit changes something that is compared or verified, or is no part of the word."""
    module = verifier()
    roots = module.x509.load_pem_x509_certificates(_issuers())
    stamp = TSA.stamp(b"note", NOW)
    same = module.verify_stamp(stamp, b"note", roots, "")
    for changed in flipped_bits(stamp, 400, "stamp"):
        try:
            assert module.verify_stamp(changed, b"note", roots, "") == same
        except (module.DoesNotVerifyError, module.NotCheckedError):
            continue
    for length in random.Random(1).sample(range(len(stamp)), 60):
        with pytest.raises((module.DoesNotVerifyError, module.NotCheckedError)):
            module.verify_stamp(stamp[:length], b"note", roots, "")


@pytest.mark.parametrize("ess", ["sha1", "sha256"])
def test_the_stamps_of_openssl_are_believed(ess: str, ledger: MemoryLedger, tmp_path: Path) -> None:
    holder = tsa.authority()
    (tmp_path / "tsa.pem").write_bytes(pem(holder.certificate))
    (tmp_path / "chain.pem").write_bytes(pem(*holder.chain[1:]))
    (tmp_path / "tsa.key").write_bytes(private_pem(holder.key))
    (tmp_path / "serial").write_text("01", "utf-8")
    (tmp_path / "ts.cnf").write_text(
        "[tsa]\ndefault_tsa=t\n[t]\nserial=serial\nsigner_cert=tsa.pem\nsigner_key=tsa.key\n"
        "signer_digest=sha256\ndefault_policy=1.2.3\ndigests=sha256,sha512\ncerts=chain.pem\n"
        f"ess_cert_id_alg={ess}\n",
        "utf-8",
    )
    (tmp_path / "data").write_text(ledger.note, "utf-8")
    _openssl(tmp_path, "-query", "-data", "data", "-sha512", "-cert", "-out", "q")
    _openssl(tmp_path, "-reply", "-queryfile", "q", "-config", "ts.cnf", "-out", "r")
    root = pem(holder.chain[-1])
    answer = _held(ledger, (tmp_path / "r").read_bytes(), root, tmp_path)
    assert (answer.code, len(answer.report.get("stamped") or [])) == (0, 1), answer  # type: ignore[arg-type]


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", "ts", *arguments], cwd=folder, check=True, capture_output=True)


def test_an_empty_stamp_is_no_stamp_that_was_forgotten(
    ledger: MemoryLedger, tmp_path: Path
) -> None:
    _held(ledger, b"stamp", _issuers(), tmp_path)
    next((tmp_path / "out" / "checkpoints").glob("*.tsr")).write_bytes(b"")
    words = ("--key", ledger.vkey, "--tsa-root", tmp_path / "roots.pem")
    assert "no DER" in check("ledger", tmp_path / "out", *words).problem


def test_roots_that_are_none_are_told(ledger: MemoryLedger, tmp_path: Path) -> None:
    assert _held(ledger, b"", b"junk", tmp_path).code == 2


def test_a_stamp_in_a_bundle_is_believed_by_the_same_rules(tmp_path: Path) -> None:
    story = told()
    at = NOW - timedelta(hours=2)
    note = story.ledger.note.encode()
    (tmp_path / "roots.pem").write_bytes(_issuers())
    (tmp_path / "registry.pub").write_bytes(story.registry_pem())
    words = ["--key", story.vkey, "--registry-key", tmp_path / "registry.pub"]

    def held(stamp: bytes, *more: object) -> Answer:
        files = story.bundle(lambda files: files.update({"ledger/checkpoint.tsr": stamp}))
        (tmp_path / "evidence.zip").write_bytes(zipped(files))
        return check("bundle", tmp_path / "evidence.zip", *words, *more)

    asked = ("--tsa-root", tmp_path / "roots.pem")
    good = held(TSA.stamp(note, at), *asked)
    assert good.report.get("stamped") == at.isoformat().replace("+00:00", "Z"), good
    assert "not checked" in str(held(TSA.stamp(note, at)).report["remarks"])
    assert held(TSA.stamp(b"another", at), *asked).code == 1
