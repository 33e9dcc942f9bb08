from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from mlflow_governance.errors import ConfigurationError, VerificationError
from mlflow_governance.evidence import certificate, envelope
from mlflow_governance.evidence.certificate import Identity, verify_chain
from tests.sigstore.certificates import (
    CODE_SIGNING,
    Holder,
    Key,
    Wish,
    below,
    der,
    p256,
    pem,
    private_pem,
    root,
)

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
SIGNER = Identity("release@example.com")
ROOT = root()
ISSUING = below(ROOT, Wish("Issuing", ca=True, path_length=0, digital_signature=False))
SANS = (x509.RFC822Name("release@example.com"),)


def leaf(issuer: Holder = ISSUING, key: Key | None = None, **changes: object) -> Holder:
    """A sound signing certificate, but for the changes."""
    wish = {"name": "Release", "sans": SANS, "usages": (CODE_SIGNING,), **changes}
    return below(issuer, Wish(**wish), key)  # type: ignore[arg-type]


def refusal(holder: Holder, identity: Identity = SIGNER, at: datetime = NOW) -> str:
    with pytest.raises(VerificationError) as caught:
        verify_chain(holder.chain, [ROOT.certificate], identity, at)
    return caught.value.message


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (ec.generate_private_key(ec.SECP256R1()), "ecdsa-p256"),
        (ec.generate_private_key(ec.SECP384R1()), "ecdsa-p384"),
        (ec.generate_private_key(ec.SECP521R1()), "ecdsa-p521"),
        (ed25519.Ed25519PrivateKey.generate(), "ed25519"),
    ],
)
def test_a_sound_chain_gives_the_key_of_its_leaf(key: Key, algorithm: str) -> None:
    found = verify_chain(leaf(key=key).chain, [ROOT.certificate], SIGNER, NOW)
    assert found.algorithm == algorithm
    if isinstance(key, ed25519.Ed25519PrivateKey):
        found.verify(key.sign(b"x"), b"x")


def test_the_root_may_be_in_the_chain_or_not() -> None:
    holder = leaf()
    for chain in (holder.chain, holder.chain[:-1]):
        assert verify_chain(chain, [ROOT.certificate], SIGNER, NOW)


def test_a_root_is_not_trusted_for_being_in_the_chain() -> None:
    stranger = root("Stranger")
    holder = leaf(stranger)
    assert refusal(holder) == "the certificate leads to no trusted root"
    assert verify_chain(holder.chain, [stranger.certificate], SIGNER, NOW)


def test_a_root_of_the_same_name_is_not_the_root() -> None:
    assert refusal(leaf(root())) == "the certificate leads to no trusted root"


def test_without_roots_nobody_is_trusted() -> None:
    with pytest.raises(VerificationError, match="no trusted root"):
        verify_chain(leaf().chain, [], SIGNER, NOW)


def test_the_roots_of_the_web_are_not_trusted() -> None:
    own = root("Self", ca=False, digital_signature=True, sans=SANS, usages=(CODE_SIGNING,))
    assert refusal(own) == "the certificate leads to no trusted root"


def test_an_expired_certificate_is_refused_whatever_its_own_dates_say() -> None:
    holder = leaf(since=NOW - 9 * DAY, until=NOW - 5 * DAY)
    assert "not at" in refusal(holder)


def test_a_certificate_that_is_not_valid_yet_is_refused() -> None:
    assert "not at" in refusal(leaf(since=NOW + DAY, until=NOW + 2 * DAY))


def test_at_the_instant_a_time_stamp_proves_an_expired_certificate_is_good() -> None:
    old = root("Old", since=NOW - 900 * DAY, until=NOW + DAY)
    holder = leaf(old, since=NOW - 800 * DAY, until=NOW - 400 * DAY)
    assert verify_chain(holder.chain, [old.certificate], SIGNER, NOW - 500 * DAY)
    with pytest.raises(VerificationError, match="not at"):
        verify_chain(holder.chain, [old.certificate], SIGNER, NOW)


def test_an_issuer_that_has_expired_is_refused() -> None:
    issuer = below(ROOT, Wish("Old", ca=True, digital_signature=False,
                              since=NOW - 9 * DAY, until=NOW - DAY))  # fmt: skip
    assert "CN=Old" in refusal(leaf(issuer))


@pytest.mark.parametrize(
    "usages",
    [
        (ExtendedKeyUsageOID.SERVER_AUTH,),
        (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.EMAIL_PROTECTION),
        (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,),
    ],
)
def test_a_certificate_for_something_else_is_refused(
    usages: tuple[x509.ObjectIdentifier, ...],
) -> None:
    assert "not for code signing" in refusal(leaf(usages=usages))


def test_a_certificate_for_nothing_in_particular_is_refused() -> None:
    assert "missing required extension" in refusal(leaf(usages=()))


def test_another_usage_may_be_asked_for() -> None:
    holder = leaf(usages=(ExtendedKeyUsageOID.EMAIL_PROTECTION,))
    roots = [ROOT.certificate]
    usage = ExtendedKeyUsageOID.EMAIL_PROTECTION
    assert verify_chain(holder.chain, roots, SIGNER, NOW, usage=usage)
    with pytest.raises(VerificationError, match=f"not for {usage.dotted_string}"):
        verify_chain(leaf().chain, roots, SIGNER, NOW, usage=usage)


def test_an_issuer_may_be_confined_to_other_usages() -> None:
    issuer = below(ROOT, Wish("TLS", ca=True, digital_signature=False,
                              usages=(ExtendedKeyUsageOID.SERVER_AUTH,)))  # fmt: skip
    assert "may not issue for code signing" in refusal(leaf(issuer))


def test_a_key_that_may_not_make_signatures_is_refused() -> None:
    assert "digitalSignature" in refusal(leaf(digital_signature=False))


def test_an_authority_does_not_sign_models() -> None:
    assert "it may issue certificates" in refusal(leaf(ROOT, ca=True))


def test_only_authorities_issue() -> None:
    assert "cA must be asserted" in refusal(leaf(leaf(ROOT)))


def test_a_chain_longer_than_its_authorities_allow_is_refused() -> None:
    deeper = below(ISSUING, Wish("Deeper", ca=True, digital_signature=False))
    assert "path length" in refusal(leaf(deeper))


def test_a_chain_with_more_certificates_than_are_read_is_refused() -> None:
    for chain in ((), (leaf().certificate,) * (certificate.MAX_CHAIN + 1)):
        with pytest.raises(VerificationError, match="make a chain"):
            verify_chain(chain, [ROOT.certificate], SIGNER, NOW)
        with pytest.raises(VerificationError, match="make a chain"):
            certificate.load_chain([der(one) for one in chain])


@pytest.mark.parametrize(
    "key",
    [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256K1())],
)
def test_a_key_of_another_kind_is_refused(key: Key) -> None:
    assert "kind that is not supported" in refusal(leaf(key=key))


@pytest.mark.parametrize(
    "name", ["Release@example.com", "release@example.co", "*", "release@example.com "]
)
def test_another_identity_is_refused_and_the_signer_named(name: str) -> None:
    assert refusal(leaf(), Identity(name)).startswith("the certificate is of release@example.com,")


@pytest.mark.parametrize(
    ("san", "name"),
    [
        (
            x509.UniformResourceIdentifier("spiffe://example.com/build"),
            "spiffe://example.com/build",
        ),
        (x509.DNSName("build.example.com"), "build.example.com"),
    ],
)
def test_an_identity_may_be_a_uri_or_a_host(san: x509.GeneralName, name: str) -> None:
    assert verify_chain(leaf(sans=(san,)).chain, [ROOT.certificate], Identity(name), NOW)


def test_the_common_name_counts_only_where_there_is_no_alternative_name() -> None:
    named = Identity("Release")
    assert verify_chain(leaf(sans=()).chain, [ROOT.certificate], named, NOW)
    assert "not of Release" in refusal(leaf(), named)


def test_the_organisation_must_be_the_one_asked_for() -> None:
    holder = leaf()
    asked = Identity(SIGNER.name, "Example")
    assert verify_chain(holder.chain, [ROOT.certificate], asked, NOW)
    for other in ("Examples", "example", "O=Example"):
        assert "of the organisation Example" in refusal(holder, Identity(SIGNER.name, other))
    assert "of nobody" in refusal(leaf(organisation=""), asked)


def test_an_identity_is_somebody() -> None:
    with pytest.raises(ConfigurationError, match="anybody"):
        Identity("")


def test_a_certificate_signed_by_nobody_is_refused() -> None:
    issuer, impostor = ISSUING, below(root("Other"), Wish("Issuing", ca=True, path_length=0))
    forged = below(impostor, Wish("Release", sans=SANS, usages=(CODE_SIGNING,)))
    chain = (forged.certificate, *issuer.chain)
    with pytest.raises(VerificationError, match="no trusted root"):
        verify_chain(chain, [ROOT.certificate], SIGNER, NOW)


def test_junk_is_no_certificate() -> None:
    sound = der(leaf().certificate)
    for junk in (b"", b"junk", sound[:-1], sound + b"\0", b"0" * 65 * 1024):
        with pytest.raises(VerificationError):
            certificate.load_chain([junk])
    for junk in (b"", b"junk", b"-----BEGIN CERTIFICATE-----\n", b"0" * (1024 * 1024 + 1)):
        with pytest.raises(ConfigurationError):
            certificate.load_roots(junk)
    with pytest.raises(ConfigurationError, match="at most"):
        certificate.load_roots(pem(ROOT.certificate) * 65)


def test_no_broken_certificate_is_believed_or_raises_anything_else() -> None:
    holder = leaf()
    sound = der(holder.certificate)
    for position in range(len(sound)):
        for bit in (1, 0x80):
            broken = bytearray(sound)
            broken[position] ^= bit
            try:
                (found,) = certificate.load_chain([bytes(broken)])
                verify_chain((found, *holder.chain[1:]), [ROOT.certificate], SIGNER, NOW)
            except VerificationError:
                continue
            # What the issuer signed is untouched: the bit is in the padding of its signature.
            assert found.tbs_certificate_bytes == holder.certificate.tbs_certificate_bytes


def test_a_maze_of_authorities_is_left_soon() -> None:
    """Intermediates that issued each other: the ways through them multiply."""
    one, other = (Wish(name, ca=True, digital_signature=False) for name in ("One", "Other"))
    key = p256()
    first, second = root("One"), root("Other")
    first, second = (Holder(key, made.certificate, made.chain) for made in (first, second))
    maze = [below(second, one, key).certificate for _ in range(4)]
    maze += [below(first, other, key).certificate for _ in range(3)]
    lost = (leaf(first).certificate, *maze)
    started = time.perf_counter()
    with pytest.raises(VerificationError):
        verify_chain(lost, [ROOT.certificate], SIGNER, NOW)
    assert time.perf_counter() - started < 10


def test_a_chain_made_with_openssl_is_believed(tmp_path: Path) -> None:
    """The commands of an ordinary private authority, nothing about our needs in them."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=tmp_path, check=True, capture_output=True)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-nodes")
    openssl("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=CA",
            "-days", "2", "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip
    openssl("req", "-x509", "-CA", "ca.pem", "-CAkey", "ca.key", *curve, "-keyout", "s.key",
            "-out", "s.pem", "-subj", "/O=Example/CN=Signer", "-days", "1",
            "-addext", "basicConstraints=critical,CA:FALSE",
            "-addext", "keyUsage=critical,digitalSignature",
            "-addext", "extendedKeyUsage=codeSigning",
            "-addext", "subjectAltName=email:release@example.com")  # fmt: skip
    chain = x509.load_pem_x509_certificates((tmp_path / "s.pem").read_bytes())
    roots = certificate.load_roots((tmp_path / "ca.pem").read_bytes())
    assert verify_chain(chain, roots, Identity(SIGNER.name, "Example"), datetime.now(UTC))


class TestStock:
    """A model signed with a certificate by the stock tool, which believes more than we do."""

    @staticmethod
    def run(folder: Path, action: str, *arguments: str) -> int:
        command = [sys.executable, "-m", "model_signing", action, "certificate", "model",
                   "--signature", "m.sig", *arguments]  # fmt: skip
        return subprocess.run(command, cwd=folder, capture_output=True, timeout=60).returncode

    def signed(self, folder: Path, holder: Holder) -> tuple[list[bytes], bytes, bytes]:
        """The chain in its bundle, its signature, and what that is over."""
        (folder / "model").mkdir()
        (folder / "model" / "MLmodel").write_bytes(b"flavors: {}")
        (folder / "s.key").write_bytes(private_pem(holder.key))
        (folder / "s.pem").write_bytes(pem(holder.certificate))
        (folder / "chain.pem").write_bytes(pem(*holder.chain[1:]))
        signing = ("--private_key", "s.key", "--signing_certificate", "s.pem")
        done = self.run(folder, "sign", *signing, "--certificate_chain", "chain.pem")
        assert done == 0
        document = json.loads((folder / "m.sig").read_bytes())
        enclosed = envelope.from_document(document["dsseEnvelope"])
        chain = document["verificationMaterial"]["x509CertificateChain"]["certificates"]
        return (
            [base64.b64decode(one["rawBytes"]) for one in chain],
            enclosed.signatures[0].value,
            envelope.pae(enclosed.payload_type, enclosed.payload),
        )

    def test_its_signature_is_of_the_key_that_the_chain_proves(self, tmp_path: Path) -> None:
        ders, signature, message = self.signed(tmp_path, leaf())
        chain = certificate.load_chain(ders)
        verify_chain(chain, [ROOT.certificate], SIGNER, NOW).verify(signature, message)

    def test_an_expired_certificate_for_tls_passes_there_and_not_here(self, tmp_path: Path) -> None:
        holder = leaf(
            since=NOW - 0.5 * DAY,
            until=NOW - 0.4 * DAY,
            usages=(ExtendedKeyUsageOID.SERVER_AUTH,),
            sans=(x509.DNSName("www.example.com"),),
        )
        ders, _signature, _message = self.signed(tmp_path, holder)
        (tmp_path / "root.pem").write_bytes(pem(ROOT.certificate))
        assert self.run(tmp_path, "verify", "--certificate_chain", "root.pem") == 0
        chain, somebody = certificate.load_chain(ders), Identity("www.example.com")
        for at in (NOW, NOW - 0.45 * DAY):  # expired; then not for signing code
            with pytest.raises(VerificationError):
                verify_chain(chain, [ROOT.certificate], somebody, at)


@pytest.mark.parametrize("place", [0, 1], ids=["the signer's", "its issuer's"])
def test_a_certificate_whose_name_cannot_be_parsed_is_refused(place: int) -> None:
    ders = [der(one) for one in leaf().chain[:2]]
    # A UTF8String in the subject becomes a tag that no name may have: parsed only when asked for.
    name = ders[place].rindex(b"\x06\x03\x55\x04\x0a\x0c") + 5
    ders[place] = ders[place][:name] + b"\x0d" + ders[place][name + 1 :]

    with pytest.raises(VerificationError):
        verify_chain(certificate.load_chain(ders), [ROOT.certificate], SIGNER, NOW)
