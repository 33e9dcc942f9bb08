"""Artifacts on S3: every way in and out of a bucket through the server, and around it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from mlflow.exceptions import MlflowException

from examples.local_server import LocalServer
from mlflow_governance.errors import VerificationError
from mlflow_governance.serving import ServingSettings, load_model
from tests.integration.world import World, sample

pytest.importorskip("moto", reason="moto[s3,server] is the S3 these tests need")
boto3 = pytest.importorskip("boto3", reason="boto3 is MLflow's way to S3")

BUCKET, PREFIX = "models", "artifacts/of/mlflow"
PROXY = "/api/2.0/mlflow-artifacts"


class Bucket:
    """The bucket as whoever holds credentials for it sees it."""

    def __init__(self, endpoint: str) -> None:
        self._client = boto3.client("s3", endpoint_url=endpoint)
        self._client.create_bucket(Bucket=BUCKET)

    def get(self, path: str) -> bytes:
        return bytes(self._client.get_object(Bucket=BUCKET, Key=f"{PREFIX}/{path}")["Body"].read())

    def put(self, path: str, data: bytes) -> None:
        self._client.put_object(Bucket=BUCKET, Key=f"{PREFIX}/{path}", Body=data)

    def delete(self, path: str) -> None:
        self._client.delete_object(Bucket=BUCKET, Key=f"{PREFIX}/{path}")

    def has(self, path: str) -> bool:
        listed = self._client.list_objects_v2(Bucket=BUCKET, Prefix=f"{PREFIX}/{path}")
        return bool(listed.get("KeyCount"))

    def unfinished(self) -> int:
        return len(self._client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []))


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(port=0, verbose=False)
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
        yield Bucket(variables["AWS_ENDPOINT_URL_S3"])
    server.stop()


@pytest.fixture(scope="module")
def s3(bucket: Bucket, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A governed server with its artifacts in the bucket."""
    folder = tmp_path_factory.mktemp("s3")
    flags = ("--artifacts-destination", f"s3://{BUCKET}/{PREFIX}")
    with LocalServer(folder, flags=flags) as server:
        populated = World(server)
        populated.populate()
        yield populated


@pytest.fixture(scope="module")
def approved(s3: World) -> str:
    """A released version nobody changes; its ``models:/m-…`` URI."""
    return s3.approved("stored", seed=60)


def _mpu(s3: World, verb: str, folder: str, user: str = "alice", **body: Any) -> requests.Response:
    given = {"path": "MLmodel", "num_parts": 1, **body}
    return s3.ask(user, "POST", f"{PROXY}/mpu/{verb}/{folder}", json=given)


def _upload_part(answer: requests.Response, data: bytes) -> list[dict[str, Any]]:
    link = answer.json()["credentials"][0]
    sent = requests.put(link["url"], data=data, timeout=30)
    assert sent.status_code == 200, sent.text
    return [{"part_number": 1, "etag": sent.headers["ETag"], "url": link["url"]}]


def test_a_model_goes_through_the_proxy_to_the_bucket_and_back(
    s3: World, bucket: Bucket, approved: str
) -> None:
    assert bucket.has(f"{s3.location(approved)}/MLmodel")
    assert bucket.has(f"{s3.location(approved)}/governance/stored/v1")

    assert len(s3.load("models:/stored/Approved").predict(sample())) == 2


@pytest.mark.parametrize("user", ["alice", "admin"])
def test_nothing_accepted_is_written_or_deleted(
    s3: World, bucket: Bucket, approved: str, user: str
) -> None:
    location = s3.location(approved)
    before = bucket.get(f"{location}/MLmodel")

    for method, path in (
        ("PUT", f"{location}/MLmodel"),
        ("PUT", f"{location}//MLmodel"),
        ("PUT", f"{location}/more.txt"),
        ("DELETE", f"{location}/MLmodel"),
        ("DELETE", location.rsplit("/", 2)[0]),
    ):
        answer = s3.ask(user, method, f"{PROXY}/artifacts/{path}", data=b"changed")
        assert answer.status_code in (400, 403), (method, path, answer.text)

    assert bucket.get(f"{location}/MLmodel") == before
    assert not bucket.has(f"{location}/more.txt")
    assert not bucket.has(f"{location}//")


def test_nothing_is_deleted_by_the_beginning_of_an_accepted_versions_place(
    s3: World, bucket: Bucket, approved: str
) -> None:
    location = s3.location(approved)

    answer = s3.ask("alice", "DELETE", f"/api/2.0/mlflow-artifacts/artifacts/{location[:-2]}")

    assert answer.status_code == 403, answer.text
    assert bucket.get(f"{location}/MLmodel")


def test_an_upload_in_parts_is_not_begun_for_what_was_accepted(
    s3: World, bucket: Bucket, approved: str
) -> None:
    for name in ("MLmodel", "new.txt", "/etc/MLmodel", "../MLmodel"):
        answer = _mpu(s3, "create", s3.location(approved), path=name)
        assert answer.status_code in (400, 403), answer.text
        assert "url" not in answer.text

    assert bucket.unfinished() == 0


def test_an_upload_in_parts_begun_before_is_not_completed_after(s3: World, bucket: Bucket) -> None:
    uri = s3.log(seed=61)
    location = s3.location(uri)
    before = bucket.get(f"{location}/MLmodel")
    begun = _mpu(s3, "create", location)
    assert begun.status_code == 200, begun.text
    parts = _upload_part(begun, b"changed")
    assert bucket.get(f"{location}/MLmodel") == before  # a part is seen by nobody

    s3.submit(uri, "--name", "in-parts")
    assert s3.tags("in-parts")["governance.stage"] == "Candidate"
    upload = begun.json()["upload_id"]
    completed = _mpu(s3, "complete", location, upload_id=upload, parts=parts)

    assert completed.status_code == 403, completed.text
    assert "read-only" in completed.text
    assert bucket.get(f"{location}/MLmodel") == before
    # What can never be completed may be thrown away.
    assert _mpu(s3, "abort", location, upload_id=upload).status_code == 200
    assert bucket.unfinished() == 0


def test_an_upload_in_parts_elsewhere_works_as_ever(
    s3: World, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE", "1")
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE", str(5 * 1024 * 1024))
    file = tmp_path / "large.bin"
    file.write_bytes(os.urandom(6 * 1024 * 1024))
    run = s3.run_of(s3.log(seed=62))

    with s3.speaking_as("alice") as client:
        client.log_artifact(run, str(file), "plots")
        experiment = client.get_run(run).info.experiment_id

    assert bucket.get(f"{experiment}/{run}/artifacts/plots/large.bin") == file.read_bytes()
    assert bucket.unfinished() == 0


def test_a_link_for_a_download_is_short_and_asks_the_gate(s3: World, approved: str) -> None:
    path = f"{PROXY}/presigned/{s3.location(approved)}/MLmodel"

    answer = s3.ask("rita", "GET", path)

    assert answer.status_code == 200, answer.text
    link = answer.json()["url"]
    assert int(parse_qs(urlsplit(link).query)["X-Amz-Expires"][0]) <= 300
    assert b"flavors" in requests.get(link, timeout=30).content


def test_a_candidate_gets_links_for_whom_its_files_are(s3: World) -> None:
    uri = s3.candidate("linked", seed=63)
    path = f"{PROXY}/presigned/{s3.location(uri)}/MLmodel"

    assert s3.ask("rita", "GET", path).status_code == 403
    assert s3.ask("eve", "GET", path).status_code == 200


def test_a_revoked_version_is_neither_read_nor_linked_nor_listed(s3: World, bucket: Bucket) -> None:
    uri = s3.candidate("ended", seed=64)
    location = s3.location(uri)
    run = s3.run_of(s3.log(seed=65))
    weights = bucket.get(f"{location}/model.skops")
    with s3.speaking_as("alice") as client:
        experiment = client.get_run(run).info.experiment_id
    again = f"{experiment}/{run}/artifacts/again.bin"
    copied = s3.ask("alice", "PUT", f"{PROXY}/artifacts/{again}", data=weights)
    assert copied.status_code == 200, copied.text
    assert s3.ask("alice", "GET", f"{PROXY}/presigned/{again}").status_code == 200

    s3.here("sam", "revoke", "ended/1", "--reason", "an incident")

    for user in ("rita", "eve", "alice", "admin"):
        for door in (
            f"{PROXY}/artifacts/{location}/model.skops",
            f"{PROXY}/presigned/{location}/model.skops",
            f"{PROXY}/artifacts?path={location}",
            f"{PROXY}/artifacts/{again}",
            f"{PROXY}/presigned/{again}",
            f"/get-artifact?run_id={run}&path=again.bin",
        ):
            answer = s3.ask(user, "GET", door)
            assert answer.status_code == 403, (door, answer.text)
            assert weights[:64] not in answer.content


@pytest.mark.parametrize("subject", ["run_id", "model_id"])
def test_no_link_to_upload_with_is_handed_out(s3: World, approved: str, subject: str) -> None:
    run = s3.run_of(approved)
    identifier = run if subject == "run_id" else approved.removeprefix("models:/")

    answer = s3.ask(
        "alice",
        "POST",
        "/api/2.0/mlflow/artifacts/presigned-upload-url",
        json={subject: identifier, "path": "x.txt", "expiration": 604800},
    )

    assert answer.status_code in (400, 403), answer.text
    assert "X-Amz" not in answer.text


def test_a_run_from_before_with_a_place_of_its_own_gets_no_link_either(
    s3: World, bucket: Bucket
) -> None:
    # What MLflow kept before it was governed: an experiment straight in the bucket.
    import sqlalchemy as sa

    run = s3.run_of(s3.log(seed=66))
    engine = sa.create_engine(s3.server.backend)
    with engine.begin() as connection:
        connection.execute(
            sa.text("UPDATE runs SET artifact_uri = :uri WHERE run_uuid = :run"),
            {
                "uri": f"s3://{BUCKET}/{PREFIX}/{s3.location(s3.candidate('bait', seed=67))}",
                "run": run,
            },
        )
    engine.dispose()

    body = {"run_id": run, "path": "MLmodel"}
    upload = s3.ask("alice", "POST", "/api/2.0/mlflow/artifacts/presigned-upload-url", json=body)
    download = s3.ask("rita", "POST", "/api/2.0/mlflow/artifacts/presigned-download-url", json=body)
    read = s3.ask("rita", "GET", f"/get-artifact?run_id={run}&path=MLmodel")
    listed = s3.ask("rita", "GET", f"/api/2.0/mlflow/artifacts/list?run_id={run}")
    mine = s3.ask("alice", "POST", "/api/2.0/mlflow/artifacts/presigned-download-url", json=body)

    assert upload.status_code == 403, upload.text
    assert "Upload through the server" in upload.text
    for answer in (download, read, listed):
        assert answer.status_code == 403, answer.text
        assert "flavors" not in answer.text
    assert mine.status_code == 200, mine.text


def test_what_is_changed_in_the_bucket_is_refused_where_it_is_loaded(
    s3: World, bucket: Bucket, tmp_path: Path
) -> None:
    uri = s3.approved("tampered", seed=68)
    location = s3.location(uri)
    weights = bucket.get(f"{location}/model.skops")
    s3.here("rita", "trust", "export", "-o", str(tmp_path / "trust.yaml"))
    settings = ServingSettings.from_env(
        {
            "MLFLOW_TRACKING_URI": s3.server.uri,
            "MLFLOW_GOVERNANCE_TRUST": str(tmp_path / "trust.yaml"),
            "MLFLOW_GOVERNANCE_CACHE": str(tmp_path / "cache"),
        }
    )
    for change in ("changed", "added", "missing"):
        if change == "changed":
            bucket.put(f"{location}/model.skops", weights[:-1] + bytes([weights[-1] ^ 1]))
        elif change == "added":
            bucket.put(f"{location}/extra.py", b"import os")
        else:
            bucket.delete(f"{location}/model.skops")
        with s3.speaking_as("rita"), pytest.raises(VerificationError):
            load_model("models:/tampered/1", settings=settings)
        bucket.put(f"{location}/model.skops", weights)
        bucket.delete(f"{location}/extra.py")

    with s3.speaking_as("rita"):
        assert load_model("models:/tampered/1", settings=settings)


def test_the_stock_client_reads_through_links_and_is_told_why_not(
    s3: World, approved: str, tmp_path: Path
) -> None:
    uri = s3.candidate("told", seed=69)
    import mlflow

    with s3.speaking_as("rita"):
        got = mlflow.artifacts.download_artifacts(approved, dst_path=str(tmp_path / "a"))
        assert (Path(got) / "MLmodel").is_file()
        with pytest.raises((MlflowException, requests.HTTPError), match="may not be downloaded"):
            mlflow.artifacts.download_artifacts(uri, dst_path=str(tmp_path / "b"))
