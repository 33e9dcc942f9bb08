"""Where policies come from: what is foreign must be signed, and what is away is kept."""

from __future__ import annotations

import gzip
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlflow_governance.errors import (
    ConfigurationError,
    GovernanceError,
    Unavailable,
    VerificationError,
)
from mlflow_governance.policy import bundle as bundles
from mlflow_governance.policy import signing
from mlflow_governance.policy.download import Access
from mlflow_governance.policy.signing import TrustedKey
from mlflow_governance.policy.sources import Demand, PolicySource
from tests.unit.policy import https_server as https
from tests.unit.policy.builders import configured, shipped
from tests.unit.policy.https_server import Server, serving
from tests.unit.policy.signed import signed_archive, signer, trusted

OLD, NEW = shipped(), configured(blocking_cvss=6.5)
SIGNED = signed_archive(OLD)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(https.sends(SIGNED), tmp_path / "tls") as running:
        yield running


def source(
    server: Server, home: Path, keys: list[TrustedKey] | None = None, **access: object
) -> PolicySource:
    trust = [trusted()] if keys is None else keys
    options = {"ca_file": server.ca_file, **access}
    return PolicySource(server.url, Demand(lambda: trust), home, Access(**options))  # type: ignore[arg-type]


# ---- local


def test_a_folder_of_ones_own_needs_no_signature(tmp_path: Path) -> None:
    for name, data in OLD.files.items():
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).write_bytes(data)

    loaded = PolicySource(tmp_path / "mine", Demand(list), tmp_path).fetch()

    assert (loaded.bundle.digest, loaded.signer, loaded.stale) == (OLD.digest, None, "")
    assert not (tmp_path / "policy-cache").exists()


def test_a_file_of_ones_own_needs_one_when_the_settings_say_so(tmp_path: Path) -> None:
    path = tmp_path / "b.tar.gz"
    demand = Demand(lambda: [trusted()], signed=True)
    path.write_bytes(OLD.archive())
    with pytest.raises(VerificationError, match="not signed"):
        PolicySource(path, demand, tmp_path).fetch()

    path.write_bytes(SIGNED)

    assert PolicySource(path, demand, tmp_path).fetch().signer == "security"


def test_a_changed_folder_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "b.tar.gz"
    path.write_bytes(OLD.archive())
    local = PolicySource(path, Demand(list), tmp_path)
    first = local.fetch()
    path.write_bytes(NEW.archive())

    assert local.fetch(first).bundle.digest == NEW.digest


# ---- https


def test_a_signed_bundle_is_fetched_over_https(server: Server, tmp_path: Path) -> None:
    loaded = source(server, tmp_path, token="s3cret").fetch()

    assert (loaded.bundle.digest, loaded.signer, loaded.stale) == (OLD.digest, "security", "")
    assert loaded.origin == server.url
    assert server.asked[0]["Authorization"] == "Bearer s3cret"


def test_plain_http_serves_on_this_machine_only(tmp_path: Path) -> None:
    with serving(https.sends(SIGNED), tmp_path / "tls", plain=True) as server:
        assert source(server, tmp_path).fetch().signer == "security"
    with pytest.raises(ConfigurationError, match="unencrypted"):
        PolicySource("http://bundles.example/b.tar.gz", Demand(list), tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        "https://",
        "https:///b.tar.gz",
        "https://user:secret@host/b",
        "https://host/b#part",
        "ftp://host/b",
        "https://host:port/b",
        "https://hö.example/b",
        "b.tar.gz",
    ],
)
def test_what_is_no_address_is_refused_without_telling_secrets(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as error:
        PolicySource(url, Demand(list), tmp_path)
    assert "secret" not in str(error.value)


def test_the_query_of_an_address_is_told_nobody(server: Server, tmp_path: Path) -> None:
    server.url += "?sig=s3cret"
    place = source(server, tmp_path)

    assert "s3cret" not in place.origin + repr(place.fetch())
    assert server.asked[0]["path"] == "/b.tar.gz?sig=s3cret"
    server.act = https.sends(b"", 500)
    with pytest.raises(Unavailable) as error:
        place.fetch(place.fetch())
    assert "s3cret" not in str(error.value)


def test_a_foreign_bundle_nobody_signed_is_refused(server: Server, tmp_path: Path) -> None:
    server.act = https.sends(OLD.archive())

    with pytest.raises(VerificationError, match="not signed"):
        source(server, tmp_path).fetch()


def test_a_foreign_bundle_of_a_stranger_is_refused(server: Server, tmp_path: Path) -> None:
    server.act = https.sends(signed_archive(OLD, signer("ES256", "stranger")))

    with pytest.raises(VerificationError, match="nobody who is trusted"):
        source(server, tmp_path).fetch()
    assert not (tmp_path / "policy-cache").exists()


def test_the_scope_of_the_settings_is_asked_for(server: Server, tmp_path: Path) -> None:
    demand = Demand(lambda: [trusted()], scope="registry")
    scoped = PolicySource(server.url, demand, tmp_path, Access(ca_file=server.ca_file))

    with pytest.raises(VerificationError, match="not for 'registry'"):
        scoped.fetch()
    server.act = https.sends(signed_archive(OLD, scope="registry"))
    assert scoped.fetch().signer == "security"


def test_what_did_not_change_is_not_sent_again(server: Server, tmp_path: Path) -> None:
    server.act = https.sends_unless_known(SIGNED, '"one"')
    place = source(server, tmp_path)

    first = place.fetch()
    assert place.fetch(first) is first
    server.act = https.sends_unless_known(signed_archive(NEW), '"two"')
    second = place.fetch(first)

    assert second.bundle.digest == NEW.digest
    assert [asked.get("If-None-Match") for asked in server.asked] == [None, '"one"', '"one"']


def test_a_signer_withdrawn_meanwhile_is_noticed_even_if_nothing_changed(
    server: Server, tmp_path: Path
) -> None:
    server.act = https.sends_unless_known(SIGNED, '"one"')
    keys = [trusted()]
    place = source(server, tmp_path, keys)
    first = place.fetch()
    keys[0] = trusted(problem="the key of security was withdrawn")

    with pytest.raises(VerificationError, match="was withdrawn"):
        place.fetch(first)


def test_nothing_changed_is_no_answer_to_who_has_nothing(server: Server, tmp_path: Path) -> None:
    server.act = https.sends(b"", 304)

    with pytest.raises(Unavailable):
        source(server, tmp_path).fetch()


@pytest.mark.parametrize(
    ("act", "word"),
    [
        (https.drips, "within 0.5 s|no end"),
        (https.drips_headers, "within 0.5 s"),
        (https.sends(SIGNED, Content_Length=str(len(SIGNED) + 1)), "fetched"),
        (https.sends_chunks(SIGNED, whole=False), "fetched"),
        (https.sends(b"", 404), "HTTP 404"),
        (https.sends(b"", 204), "HTTP 204"),
        (https.sends(b"", 302, Location="https://127.0.0.2/b.tar.gz"), "elsewhere"),
        (https.sends(b"", 302, Location="http://127.0.0.1/b.tar.gz"), "elsewhere"),
        (https.sends(b"", 302, Location="//[bad"), "elsewhere|fetched"),
        (https.sends(b"", 302), "elsewhere"),
        (https.sends(b"", 302, Location="/again"), "circles"),
        (lambda handler: handler.connection.close(), "fetched"),
    ],
)
def test_a_server_that_misbehaves_is_away(
    server: Server, tmp_path: Path, act: https.Act, word: str
) -> None:
    server.act = act

    with pytest.raises(Unavailable, match=word) as error:
        source(server, tmp_path, deadline_seconds=0.5).fetch()
    assert "no copy" in error.value.message


def test_a_server_that_never_ends_costs_one_thread(server: Server, tmp_path: Path) -> None:
    server.act = https.drips_headers
    place = source(server, tmp_path, deadline_seconds=0.2)
    with pytest.raises(Unavailable, match=r"within 0.2 s"):
        place.fetch()

    with pytest.raises(Unavailable, match="question before"):
        place.fetch()


def test_more_than_a_bundle_can_be_is_refused(server: Server, tmp_path: Path) -> None:
    server.act = https.floods

    with pytest.raises(VerificationError, match="more than 8388608 bytes"):
        source(server, tmp_path).fetch()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>welcome</html>",
        SIGNED[:-9],
        SIGNED[: len(SIGNED) // 2],
        gzip.compress(b"no", mtime=0),
    ],
)
def test_another_file_than_a_bundle_is_refused(server: Server, tmp_path: Path, body: bytes) -> None:
    server.act = https.sends(body)

    with pytest.raises((ConfigurationError, VerificationError)):
        source(server, tmp_path).fetch()


def test_a_signed_archive_no_engine_would_take_is_refused(server: Server, tmp_path: Path) -> None:
    files = {**OLD.published(), "registry/run.sh": b"true"}
    signed = {**files, bundles.SIGNATURES: signing.sign(files, signer())}
    server.act = https.sends(bundles.pack(signed))

    with pytest.raises(ConfigurationError, match="neither"):
        source(server, tmp_path).fetch()


def test_chunks_and_labels_of_encodings_do_not_change_the_file(
    server: Server, tmp_path: Path
) -> None:
    for act in (https.sends_chunks(SIGNED), https.sends(SIGNED, Content_Encoding="gzip")):
        server.act = act
        assert source(server, tmp_path).fetch().bundle.digest == OLD.digest


def test_a_certificate_of_another_authority_is_refused(server: Server, tmp_path: Path) -> None:
    with serving(https.sends(SIGNED), tmp_path / "other") as other, pytest.raises(Unavailable):
        source(server, tmp_path, ca_file=other.ca_file).fetch()
    with pytest.raises(Unavailable, match="SSLError"):
        source(server, tmp_path, ca_file=None).fetch()
    assert server.asked == []
    with pytest.raises(ConfigurationError, match="authorities"):
        source(server, tmp_path, ca_file=tmp_path / "absent.pem")


def test_the_environment_does_not_change_who_is_asked(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "absent"))

    assert source(server, tmp_path, token="s3cret").fetch().signer == "security"
    assert server.asked[0]["Authorization"] == "Bearer s3cret"


def test_a_redirect_on_the_same_server_is_followed(server: Server, tmp_path: Path) -> None:
    def act(handler: https.BaseHTTPRequestHandler) -> None:
        latest = handler.path == "/b.tar.gz"
        answer = https.sends(b"", 302, Location="/v7.tar.gz") if latest else https.sends(SIGNED)
        answer(handler)

    server.act = act

    assert source(server, tmp_path, token="t").fetch().bundle.digest == OLD.digest
    assert [asked["path"] for asked in server.asked] == ["/b.tar.gz", "/v7.tar.gz"]


# ---- the kept copy


def test_the_last_good_copy_is_used_while_the_source_is_away_and_that_is_told(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source(server, tmp_path).fetch()
    server.act = https.sends(b"", 503)

    with caplog.at_level(logging.WARNING):
        loaded = source(server, tmp_path).fetch()

    assert (loaded.bundle.digest, loaded.signer) == (OLD.digest, "security")
    assert "HTTP 503" in loaded.stale
    assert "the kept copy is used" in caplog.text


def test_who_has_a_bundle_already_keeps_that_one(server: Server, tmp_path: Path) -> None:
    place = source(server, tmp_path)
    first = place.fetch()
    server.act = https.sends(b"", 503)

    with pytest.raises(Unavailable):
        place.fetch(first)


def test_a_copy_that_was_used_gives_way_when_the_source_is_back(
    server: Server, tmp_path: Path
) -> None:
    source(server, tmp_path).fetch()
    server.act = https.sends(b"", 503)
    stale = source(server, tmp_path).fetch()
    server.act = https.sends(signed_archive(NEW))

    found = source(server, tmp_path).fetch(stale)

    assert (found.bundle.digest, found.stale) == (NEW.digest, "")


def test_the_kept_copy_is_verified_again(server: Server, tmp_path: Path) -> None:
    source(server, tmp_path).fetch()
    server.act = https.sends(b"", 503)
    (kept,) = (tmp_path / "policy-cache").iterdir()

    with pytest.raises(VerificationError, match="expired"):
        source(server, tmp_path, [trusted(problem="expired")]).fetch()
    for body in (NEW.archive(), SIGNED[:-1], b"", b"x" * 9_000_000):
        kept.write_bytes(body)
        with pytest.raises((VerificationError, ConfigurationError)):
            source(server, tmp_path).fetch()


def test_a_bad_bundle_does_not_fall_back_to_the_kept_one(server: Server, tmp_path: Path) -> None:
    source(server, tmp_path).fetch()
    server.act = https.sends(NEW.archive())

    with pytest.raises(VerificationError, match="not signed"):
        source(server, tmp_path).fetch()


def test_two_addresses_keep_two_copies_that_only_their_owner_can_read(
    server: Server, tmp_path: Path
) -> None:
    source(server, tmp_path).fetch()
    server.url += "?other"
    source(server, tmp_path).fetch()

    kept = list((tmp_path / "policy-cache").iterdir())
    assert len(kept) == 2
    assert {path.stat().st_mode & 0o777 for path in kept} == {0o600}


def test_a_home_that_cannot_be_written_keeps_nothing_and_says_so(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "policy-cache").write_text("in the way")

    assert source(server, tmp_path).fetch().signer == "security"
    assert "no copy of the policies can be kept" in caplog.text


def test_errors_say_what_to_do(server: Server, tmp_path: Path) -> None:
    server.act = https.sends(b"", 401)

    with pytest.raises(GovernanceError) as error:
        source(server, tmp_path).fetch()
    assert "policy_token_variable" in error.value.advice
