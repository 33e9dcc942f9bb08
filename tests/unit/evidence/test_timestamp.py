from __future__ import annotations

import random
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mlflow_governance.errors import ConfigurationError, Unavailable, VerificationError
from mlflow_governance.evidence import timestamp
from mlflow_governance.evidence.timestamp import Authority, load_authority, stamped_at
from tests.sigstore import der, tsa
from tests.sigstore.certificates import (
    CODE_SIGNING,
    TIME_STAMPING,
    Holder,
    Wish,
    below,
    pem,
    private_pem,
    root,
)
from tests.sigstore.deployment import Http
from tests.sigstore.offline import no_network
from tests.sigstore.private import PrivateSigstore
from tests.sigstore.tsa import Tsa

NOW = datetime.now(UTC).replace(microsecond=0)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SIGNATURE = b"the raw bytes of a signature"
TSA = Tsa(tsa.authority())


def trusted(holder: Holder = TSA.holder, name: str = "tsa") -> Authority:
    return load_authority(name, pem(*holder.chain))


def test_a_time_stamp_proves_when_a_signature_existed() -> None:
    with no_network():
        token = TSA.stamp(SIGNATURE, NOW - HOUR)
        assert stamped_at([token], SIGNATURE, [trusted()]) == NOW - HOUR


def test_the_authoritys_certificate_may_be_in_the_token_or_not() -> None:
    for embedded in (True, False):
        token = TSA.stamp(SIGNATURE, NOW, embed=embedded)
        assert stamped_at([token], SIGNATURE, [trusted()]) == NOW


def test_a_bare_token_is_read_like_the_response_around_it() -> None:
    _status, token = der.parts(TSA.stamp(SIGNATURE, NOW))
    assert stamped_at([token], SIGNATURE, [trusted()]) == NOW


def test_the_earliest_proved_moment_counts() -> None:
    tokens = [TSA.stamp(SIGNATURE, NOW - hours * HOUR) for hours in (1, 3, 2)]
    assert stamped_at(tokens, SIGNATURE, [trusted()]) == NOW - 3 * HOUR


def test_no_token_proves_nothing() -> None:
    assert stamped_at([], SIGNATURE, [trusted()]) is None
    assert stamped_at([TSA.stamp(SIGNATURE, NOW)], SIGNATURE, []) is None


def test_a_stamp_by_somebody_else_proves_nothing() -> None:
    other = Tsa(tsa.authority())
    early, ours = other.stamp(SIGNATURE, NOW - DAY / 2), TSA.stamp(SIGNATURE, NOW)
    assert stamped_at([early], SIGNATURE, [trusted()]) is None
    assert stamped_at([early, ours], SIGNATURE, [trusted()]) == NOW
    both = [trusted(), trusted(other.holder, "other")]
    assert stamped_at([early, ours], SIGNATURE, both) == NOW - DAY / 2


def test_a_stamp_over_other_bytes_proves_nothing() -> None:
    assert stamped_at([TSA.stamp(b"else", NOW)], SIGNATURE, [trusted()]) is None


def test_a_stamp_by_another_certificate_of_the_same_root_proves_nothing() -> None:
    top = root("TSA root")
    wish = Wish("TSA", usages=[TIME_STAMPING], usage_critical=True)
    ours, theirs = below(top, wish), below(top, wish)
    for embedded in (True, False):
        token = Tsa(theirs).stamp(SIGNATURE, NOW, embed=embedded)
        assert stamped_at([token], SIGNATURE, [trusted(ours)]) is None


@pytest.mark.parametrize("embedded", [True, False])
def test_the_authority_must_have_been_valid_when_it_stamped(embedded: bool) -> None:
    holder = tsa.authority(since=NOW - HOUR, until=NOW + HOUR)
    for off in (-2 * HOUR, 2 * HOUR):
        token = Tsa(holder).stamp(SIGNATURE, NOW + off, embed=embedded)
        assert stamped_at([token], SIGNATURE, [trusted(holder)]) is None


def test_an_authority_that_expired_since_is_believed_about_its_time() -> None:
    top = root("Old", since=NOW - 900 * DAY, until=NOW - DAY)
    wish = Wish("TSA", usages=[TIME_STAMPING], usage_critical=True,
                since=NOW - 800 * DAY, until=NOW - 700 * DAY)  # fmt: skip
    holder = below(top, wish)
    at = NOW - 750 * DAY
    assert stamped_at([Tsa(holder).stamp(SIGNATURE, at)], SIGNATURE, [trusted(holder)]) == at


def test_a_refused_request_is_no_time_stamp() -> None:
    _status, token = der.parts(TSA.stamp(SIGNATURE, NOW))
    for status in (1, 2, 5):
        answer = der.tlv(der.SEQUENCE, der.tlv(der.SEQUENCE, der.integer(status)), token)
        with pytest.raises(VerificationError, match="not granted"):
            stamped_at([answer], SIGNATURE, [trusted()])


@pytest.mark.parametrize(
    "junk", [b"", b"0", b"junk", b"\x30\x03\x02\x01\x00", b"\x30\x80\x06", b"0" * (32 * 1024 + 1)]
)
def test_junk_is_refused(junk: bytes) -> None:
    with pytest.raises(VerificationError):
        stamped_at([TSA.stamp(SIGNATURE, NOW), junk], SIGNATURE, [trusted()])


def test_more_time_stamps_than_are_looked_at_are_refused() -> None:
    token = TSA.stamp(SIGNATURE, NOW)
    with pytest.raises(VerificationError, match="at most"):
        stamped_at([token] * (timestamp.MAX_TOKENS + 1), SIGNATURE, [trusted()])


def test_no_broken_time_stamp_proves_another_moment_or_raises_anything_else() -> None:
    chance = random.Random(3)
    authorities = [trusted()]
    for embedded in (True, False):
        sound = TSA.stamp(SIGNATURE, NOW, embed=embedded)
        for _ in range(2000):
            broken = bytearray(sound)
            for _ in range(chance.randint(1, 3)):
                broken[chance.randrange(len(broken))] = chance.randrange(256)
            try:
                assert stamped_at([bytes(broken)], SIGNATURE, authorities) in (NOW, None)
            except VerificationError:
                continue


def without_root(holder: Holder) -> bytes:
    return pem(holder.certificate)


def wrong_order(holder: Holder) -> bytes:
    return pem(*reversed(holder.chain))


def another_root(holder: Holder) -> bytes:
    return pem(holder.certificate, root("TSA root").certificate)


@pytest.mark.parametrize("make", [without_root, wrong_order, another_root, lambda _: b"junk"])
def test_an_authority_is_a_whole_chain(make: Callable[[Holder], bytes]) -> None:
    with pytest.raises(ConfigurationError, match="not a time stamp authority"):
        load_authority("tsa", make(TSA.holder))


@pytest.mark.parametrize(
    "changes",
    [
        {"usage_critical": False},
        {"usages": [CODE_SIGNING]},
        {"usages": [TIME_STAMPING, CODE_SIGNING]},
        {"usages": []},
    ],
)
def test_an_authority_is_for_time_stamps_alone(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match="not a time stamp authority"):
        trusted(tsa.authority(**changes))


def test_a_file_of_certificates_without_end_is_not_read() -> None:
    with pytest.raises(ConfigurationError, match="over"):
        load_authority("tsa", pem(*TSA.holder.chain) * 100)


class TestOpenssl:
    """``openssl ts`` as the authority, and as the judge of ours."""

    @staticmethod
    def answer(folder: Path, holder: Holder, digest: str, config: str = "") -> bytes:
        (folder / "tsa.pem").write_bytes(pem(holder.certificate))
        (folder / "chain.pem").write_bytes(pem(*holder.chain[1:]))
        (folder / "tsa.key").write_bytes(private_pem(holder.key))
        (folder / "serial").write_text("01")
        (folder / "ts.cnf").write_text(
            "[tsa]\ndefault_tsa=t\n[t]\nserial=serial\nsigner_cert=tsa.pem\nsigner_key=tsa.key\n"
            "signer_digest=sha256\ndefault_policy=1.2.3\ndigests=sha1,sha256,sha512\n"
            f"ess_cert_id_alg=sha256\n{config}"
        )
        (folder / "data").write_bytes(SIGNATURE)
        openssl(folder, "-query", "-data", "data", digest, "-cert", "-out", "q")
        openssl(folder, "-reply", "-queryfile", "q", "-config", "ts.cnf", "-out", "r")
        return (folder / "r").read_bytes()

    @pytest.mark.parametrize("digest", ["-sha256", "-sha512"])
    def test_its_stamps_are_believed(self, tmp_path: Path, digest: str) -> None:
        holder = tsa.authority()
        at = stamped_at([self.answer(tmp_path, holder, digest)], SIGNATURE, [trusted(holder)])
        assert at is not None
        assert abs(at - datetime.now(UTC)) < timedelta(seconds=10)

    def test_a_stamp_over_a_weak_digest_proves_nothing(self, tmp_path: Path) -> None:
        holder = tsa.authority()
        answer = self.answer(tmp_path, holder, "-sha1")
        assert stamped_at([answer], SIGNATURE, [trusted(holder)]) is None

    def test_a_stamp_with_certificates_out_of_order_is_refused(self, tmp_path: Path) -> None:
        # DER sorts the members of a SET; openssl does not, and may meet the order by chance.
        for attempt in range(20):
            folder = tmp_path / str(attempt)
            folder.mkdir()
            holder = tsa.authority()
            answer = self.answer(folder, holder, "-sha256", "certs=chain.pem\n")
            try:
                assert stamped_at([answer], SIGNATURE, [trusted(holder)])
            except VerificationError:
                return
        pytest.fail("twenty times in order")

    def test_it_believes_ours(self, tmp_path: Path) -> None:
        (tmp_path / "ca.pem").write_bytes(pem(TSA.holder.chain[-1]))
        (tmp_path / "data").write_bytes(SIGNATURE)
        (tmp_path / "r").write_bytes(TSA.stamp(SIGNATURE, NOW))
        openssl(tmp_path, "-verify", "-data", "data", "-in", "r", "-CAfile", "ca.pem")


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", "ts", *arguments], cwd=folder, check=True, capture_output=True)


def test_a_time_stamp_is_asked_for_and_proves_the_moment(tmp_path: Path) -> None:
    with PrivateSigstore(tmp_path) as sigstore:
        token = timestamp.request(sigstore.tsa_url, SIGNATURE)
    authority = load_authority("private", sigstore.tsa_chain)
    at = stamped_at([token], SIGNATURE, [authority])
    assert at is not None
    assert abs(at - datetime.now(UTC)) < timedelta(seconds=10)


def test_an_authority_that_is_away_is_unavailable(tmp_path: Path) -> None:
    with PrivateSigstore(tmp_path) as sigstore:
        pass
    for url in (sigstore.tsa_url, "http://", "nonsense", "file:///etc/passwd"):
        with pytest.raises(Unavailable, match="does not answer"):
            timestamp.request(url, SIGNATURE)


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    server = Http({"POST /": lambda *_: (status, "application/timestamp-reply", body)})
    try:
        yield f"{server.url}/"
    finally:
        server.stop()


@pytest.mark.parametrize("status", [301, 403, 404, 500, 503])
def test_an_authority_that_refuses_is_unavailable(status: int) -> None:
    with answering(status, b"") as url, pytest.raises(Unavailable, match=str(status)):
        timestamp.request(url, SIGNATURE)


def test_an_answer_over_something_else_is_refused() -> None:
    replayed = TSA.stamp(SIGNATURE, NOW)  # without the nonce of the request
    for answer in (replayed, TSA.stamp(b"else", NOW)):
        with answering(200, answer) as url, pytest.raises(VerificationError, match="else"):
            timestamp.request(url, SIGNATURE)


@pytest.mark.parametrize("body", [b"", b"<html>", b"0" * (64 * 1024)])
def test_an_answer_that_is_no_time_stamp_is_refused(body: bytes) -> None:
    with answering(200, body) as url, pytest.raises(VerificationError):
        timestamp.request(url, SIGNATURE)


def test_an_answer_that_drips_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timestamp, "_DEADLINE", 0.3)
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def drip() -> None:
        peer, _ = listener.accept()
        with peer:
            peer.recv(4096)
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            while not stop.wait(0.05):
                try:
                    peer.sendall(b"0")
                except OSError:
                    return

    thread = threading.Thread(target=drip)
    thread.start()
    started = time.monotonic()
    try:
        with pytest.raises(Unavailable, match="in time"):
            timestamp.request(f"http://127.0.0.1:{listener.getsockname()[1]}/", SIGNATURE)
    finally:
        stop.set()
        thread.join()
        listener.close()
    assert time.monotonic() - started < 20


def test_nothing_is_not_stamped() -> None:
    with pytest.raises(ValueError, match="bytes"):
        timestamp.request("http://127.0.0.1:1/", b"")
