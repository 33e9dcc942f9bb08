"""Checkpoints to real places: a time stamp authority, a bucket, a web server, a witness."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mlflow_governance.errors import ConfigurationError, LedgerError
from mlflow_governance.ledger import checkpoint
from mlflow_governance.ledger.cosignature import WitnessKey, cosigned
from mlflow_governance.ledger.note import NoteKey
from mlflow_governance.outbox import sightings
from mlflow_governance.outbox.anchor_report import report_of, stamped_at
from mlflow_governance.outbox.anchoring import STAMPING
from mlflow_governance.outbox.checkpoint_options import (
    DestinationOptions,
    StampOptions,
    WitnessOptions,
)
from mlflow_governance.outbox.destinations import destination_of
from tests.sigstore.certificates import pem
from tests.sigstore.services import ORIGIN, RealLog, RealStamps, log_missing, stamps_missing
from tests.sigstore.tsa import authority
from tests.unit.outbox.anchors import Anchored, Shelf, anchored, size_of
from tests.unit.policy.https_server import serving

BUCKET = "ledger"


@pytest.fixture
def ours(tmp_path: Path) -> Anchored:
    made = anchored(tmp_path)
    made.fill(3)
    return made


# A time stamp authority


@pytest.fixture(scope="module")
def stamps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealStamps]:
    if stamps_missing():
        pytest.skip("the time stamp authority of Sigstore is not installed: make tools")
    with RealStamps(tmp_path_factory.mktemp("tsa")) as running:
        yield running


def test_each_checkpoint_is_stamped_and_openssl_agrees(
    ours: Anchored, stamps: RealStamps, tmp_path: Path
) -> None:
    options = StampOptions(stamps.url, stamps.chain)
    ours = ours.with_(Shelf(), timestamping=options)

    ours.round()

    (kept,) = ours.anchoring.destinations[0].has  # type: ignore[attr-defined]
    at = stamped_at(kept, options)
    assert at is not None
    assert abs(datetime.now(UTC) - at) < timedelta(minutes=5)
    (note,) = ours.home.glob("*.checkpoint")
    if shutil.which("openssl"):
        (tmp_path / "root.pem").write_bytes(stamps.chain)
        arguments = ("-data", str(note), "-in", str(note.with_suffix(".tsr")))
        verified = subprocess.run(
            ["openssl", "ts", "-verify", *arguments, "-CAfile", str(tmp_path / "root.pem")],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "Verification: OK" in verified.stdout + verified.stderr, verified.stderr


def test_a_stamp_by_another_authority_than_the_one_configured_is_not_kept(
    ours: Anchored, stamps: RealStamps
) -> None:
    shelf = Shelf()
    stranger = StampOptions(stamps.url, pem(*authority().chain))

    ours.with_(shelf, timestamping=stranger).round()

    assert [one.stamp for one in shelf.has] == [None], "nothing waits for the stamp"
    assert "is not the time stamp authority" in ours.place(STAMPING).last_error  # type: ignore[attr-defined]


def test_a_stamp_that_comes_later_is_delivered_too(ours: Anchored, stamps: RealStamps) -> None:
    shelf = Shelf()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{listener.getsockname()[1]}"
        ours.with_(shelf, timestamping=StampOptions(nobody, stamps.chain)).round()

    options = StampOptions(stamps.url, stamps.chain)
    back = ours.with_(shelf, timestamping=options)
    back.round()

    assert [one.stamp is None for one in shelf.has] == [True, False]
    seen = sightings.look([shelf], ours.database.key, 0)
    report = report_of(seen.found, 3, back.anchoring.options)
    assert report.stamped is not None
    assert report.stamped.size == 3


# A bucket


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    server_of = pytest.importorskip("moto.server", reason="moto is the S3 these tests need")
    boto3 = pytest.importorskip("boto3")
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = server_of.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    variables = {
        "AWS_ENDPOINT_URL_S3": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "server",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        client = boto3.client("s3")
        client.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
        yield client
    server.stop()


def test_a_bucket_keeps_each_checkpoint_locked(ours: Anchored, s3: Any) -> None:
    options = DestinationOptions("bucket", s3=f"s3://{BUCKET}/one/ledger", lock_days=30)
    ours = ours.with_(destination_of(options))
    for _ in range(2):
        ours.round()
        ours.fill()

    listed = s3.list_objects_v2(Bucket=BUCKET, Prefix="one/ledger/")["Contents"]
    names = [one["Key"].removeprefix("one/ledger/") for one in listed]
    assert [name[:13] for name in names] == ["000000000003-", "000000000004-", "checkpoint"]
    head = s3.head_object(Bucket=BUCKET, Key=f"one/ledger/{names[0]}")
    assert head["ObjectLockMode"] == "COMPLIANCE"
    assert head["ObjectLockRetainUntilDate"] > datetime.now(UTC) + timedelta(days=29)
    assert "ObjectLockMode" not in s3.head_object(Bucket=BUCKET, Key="one/ledger/checkpoint")


@pytest.mark.parametrize("went_on", [0, 9])
def test_a_database_behind_a_bucket_does_not_start(ours: Anchored, s3: Any, went_on: int) -> None:
    place = destination_of(DestinationOptions("bucket", s3=f"s3://{BUCKET}/two-{went_on}"))
    old = ours.backup()
    ours.fill(4)
    ours.with_(place).round()
    ours.restore(old)
    ours.fill(went_on)

    with pytest.raises(LedgerError, match="in bucket"):
        sightings.require_current([place], ours.database.ledger, ours.database.key)

    assert [size_of(one.note) for one in place.seen(0)] == [7]


def test_a_bucket_that_is_not_there_is_away(ours: Anchored, s3: Any) -> None:
    place = destination_of(DestinationOptions("bucket", s3="s3://no-such-bucket/x"))
    ours = ours.with_(place)

    ours.round()

    assert "NoSuchBucket" in ours.place("bucket").last_error  # type: ignore[attr-defined]
    assert list(sightings.look([place], ours.database.key, 0).unread) == ["bucket"]


# A web server


class Files:
    """A web server that keeps what it is sent."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.posted: list[bytes] = []
        self.tokens: set[str] = set()
        self.refuses = 0

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        self.tokens.add(handler.headers.get("Authorization", ""))
        status, answer = self._answer(handler.command, handler.path, body)
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(answer)))
        handler.end_headers()
        handler.wfile.write(answer)

    def _answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        if self.refuses:
            self.refuses -= 1
            return 503, b""
        if method == "PUT":
            self.kept[path] = body
        elif method == "POST":
            self.posted.append(body)
        elif path not in self.kept:
            return 404, b""
        return 200, self.kept.get(path, b"") if method == "GET" else b""


@contextmanager
def web(tmp_path: Path, **options: Any) -> Iterator[tuple[Files, Any]]:
    files = Files()
    with serving(files, tmp_path / "tls") as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOKEN", "secret")
        given = DestinationOptions(
            "web", url=server.url.rpartition("/")[0] + "/ledger", token_variable="TOKEN",
            ca_file=str(server.ca_file), **options,
        )  # fmt: skip
        yield files, destination_of(given)


def test_a_web_server_gets_each_checkpoint_and_is_asked_for_the_newest(
    ours: Anchored, tmp_path: Path
) -> None:
    old = ours.backup()
    with web(tmp_path) as (files, place):
        made = ours.with_(place)
        made.round()
        made.fill()
        files.refuses = 1
        made.round()
        assert "HTTP 503" in made.place("web").last_error  # type: ignore[attr-defined]
        made.round()

        assert files.tokens == {"Bearer secret"}
        assert [name[:21] for name in sorted(files.kept)] == [
            "/ledger/000000000003-", "/ledger/000000000004-", "/ledger/checkpoint",
        ]  # fmt: skip
        sightings.require_current([place], ours.database.ledger, ours.database.key)
        ours.restore(old)
        with pytest.raises(LedgerError, match="ends at 3 entries, and 4 were signed"):
            sightings.require_current([place], ours.database.ledger, ours.database.key)


def test_a_receiver_of_messages_gets_json_and_is_never_read(ours: Anchored, tmp_path: Path) -> None:
    with web(tmp_path, method="POST") as (files, place):
        ours.with_(place).round()

        (message,) = map(json.loads, files.posted)
        assert (message["size"], message["timestamp"]) == (3, None)
        assert checkpoint.verify(message["checkpoint"], ours.database.key).size == 3
        assert sightings.look([place], ours.database.key, 0) == sightings.Sightings()


def test_a_certificate_of_somebody_else_is_not_spoken_to(ours: Anchored, tmp_path: Path) -> None:
    with web(tmp_path) as (files, place):
        place._ca_file = ""
        made = ours.with_(place)
        made.round()

        assert "SSLError" in made.place("web").last_error  # type: ignore[attr-defined]
        assert files.tokens == set()


def test_a_token_that_is_not_set_is_the_operators_mistake() -> None:
    with pytest.raises(ConfigurationError, match="NOT_SET_HERE"):
        destination_of(
            DestinationOptions("web", url="https://x.example", token_variable="NOT_SET_HERE")
        )


# A witness


@contextmanager
def witness_process(folder: Path, log_key: NoteKey) -> Iterator[WitnessOptions]:
    (port,) = _free_ports()
    command = [
        *(sys.executable, "-m", "mlflow_governance.cli.main", "witness", "serve"),
        *("--name", "audit.example.org/w1", "--state", str(folder / "state")),
        *("--key", str(folder / "witness.pem"), "--port", str(port)),
        *("--log", log_key.encode()),
    ]
    log = folder / "witness.log"
    with log.open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=dict(os.environ))
    try:
        yield WitnessOptions(_told_key(process, log, port), f"http://127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait()


def _told_key(process: subprocess.Popen[bytes], log: Path, port: int) -> WitnessKey:
    latest = time.monotonic() + 60
    while time.monotonic() < latest and process.poll() is None:
        try:
            requests.get(f"http://127.0.0.1:{port}/", timeout=2)
        except requests.RequestException:
            time.sleep(0.1)
            continue
        (line,) = {
            line for line in log.read_text().splitlines() if line.startswith("witness key: ")
        }
        return WitnessKey.parse(line.removeprefix("witness key: "))
    raise AssertionError(log.read_text())


def _free_ports() -> list[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return [listener.getsockname()[1]]


def test_a_witness_that_was_killed_still_remembers_and_refuses_a_fork(
    ours: Anchored, tmp_path: Path
) -> None:
    shelf, old = Shelf(), ours.backup()
    ours.fill(4)
    with witness_process(tmp_path, ours.database.key) as witness:
        made = ours.with_(shelf, witnesses=(witness,))
        made.round()
        assert cosigned(shelf.has[0].note, [witness.key])
    assert (tmp_path / "witness.pem").stat().st_mode & 0o777 == 0o600
    ours.restore(old)
    ours.fill(9)
    for file in ours.home.iterdir():
        file.unlink()

    with witness_process(tmp_path, ours.database.key) as again:
        assert again.key == witness.key
        forked = ours.with_(Shelf(), witnesses=(again,))
        forked.round()

    (place,) = [
        one
        for one in ours.anchoring.book.places()
        if one.name.startswith("witness:")  # type: ignore[attr-defined]
    ]
    assert "is no continuation of the ledger of 7" in place.alarm


def test_a_log_of_others_takes_our_witness(tmp_path: Path) -> None:
    """Sigstore's log shows each checkpoint to the witness and publishes what is cosigned."""
    if log_missing():
        pytest.skip("the log of Sigstore is not installed: make tools")
    key, signer = Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1())
    theirs = NoteKey(ORIGIN, key.public_key().public_bytes_raw())

    with (
        witness_process(tmp_path, theirs) as witness,
        RealLog(tmp_path / "log", key, (witness.key.encode(), witness.url)) as log,
    ):
        for number in range(2):
            answer = requests.post(
                f"{log.url}/api/v2/log/entries", json=_record(number, signer), timeout=30
            )
            published = answer.json()["inclusionProof"]["checkpoint"]["envelope"]

            assert checkpoint.verify(published, theirs).size == number + 1
            assert list(cosigned(published, [witness.key])) == [witness.key]


def _record(number: int, signer: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    data = b"%d" % number
    public = signer.public_key().public_bytes(
        form.Encoding.DER, form.PublicFormat.SubjectPublicKeyInfo
    )
    verifier = {
        "publicKey": {"rawBytes": base64.b64encode(public).decode()},
        "keyDetails": "PKIX_ECDSA_P256_SHA_256",
    }
    signature = base64.b64encode(signer.sign(data, ec.ECDSA(hashes.SHA256()))).decode()
    return {
        "hashedRekordRequestV002": {
            "digest": base64.b64encode(hashlib.sha256(data).digest()).decode(),
            "signature": {"content": signature, "verifier": verifier},
        }
    }
