"""Private keys that stay where they are, named by a URI, through securesystemslib.

::

    hsm:2                               PKCS#11: the EC key with id 2 on the only token
    hsm:2?label=release                 … on the token of that label
    hsm:2?pin-source=/run/secrets/pin   … its PIN in a file that only its owner can read
    awskms:alias/release                AWS KMS: key id, ARN or alias
    gcpkms:projects/P/locations/L/keyRings/R/cryptoKeys/K/cryptoKeyVersions/1
    azurekms://VAULT.vault.azure.net/keys/NAME
    hv:release                          Vault's transit engine, Ed25519; hv:release/3 for a version

Who we are to a service is said by what its own client reads: ``AWS_…``,
``GOOGLE_APPLICATION_CREDENTIALS``, ``AZURE_…``, ``VAULT_ADDR`` and ``VAULT_TOKEN``;
``PYKCS11LIB`` is the path of the token's PKCS#11 module. The PIN of a token comes from, in this
order: the file ``pin-source`` names (RFC 7512, 2.4), the caller (who may have asked for it), the
variable ``MLFLOW_GOVERNANCE_PIN``. It is never part of the URI, which other users can see.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlsplit

from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ed25519

from mlflow_governance.errors import ConfigurationError, Unavailable, VerificationError
from mlflow_governance.evidence.keys import MAX_KEY_BYTES, PublicKey, read_secret

# The library's front door is typed, and mypy wants it to say again what it exports.
if TYPE_CHECKING:
    from securesystemslib.signer import Signer, SSlibKey  # type: ignore[attr-defined]

PIN_VARIABLE = "MLFLOW_GOVERNANCE_PIN"

EXTRAS: Mapping[str, str] = {
    "hsm": "mlflow-governance[hsm]",
    "awskms": "mlflow-governance[aws]",
    "gcpkms": "securesystemslib[gcpkms]",
    "azurekms": "securesystemslib[azurekms]",
    "hv": "mlflow-governance[vault]",
}
"""The schemes that are known, and what to install for each."""

_MAX_URI = 2048
_MAX_MESSAGE = 500


@dataclass(frozen=True, slots=True)
class ReferencedKey:
    """A private key kept elsewhere; fulfils :class:`~mlflow_governance.evidence.keys.PrivateKey`.

    ``uri`` is what it was named by; it holds no secret.
    """

    public: PublicKey
    uri: str
    _signer: Signer = field(repr=False, compare=False)

    def sign(self, data: bytes) -> bytes:
        """The signature over ``data``: DER ECDSA, or the 64 bytes of Ed25519.

        Raises:
            ConfigurationError: the key does not sign, or is not the one whose public half we know.
            Unavailable: the service that keeps it does not answer.
        """
        try:
            value = bytes.fromhex(self._signer.sign(data).signature)
        except Exception as error:  # the library documents that anything may be raised
            raise _failure(self.uri, "does not sign", error) from error
        try:
            self.public.verify(value, data)
        except VerificationError as error:
            raise ConfigurationError(
                f"the key {self.uri} signed, and {self.public.key_id} is not its public half",
                advice="Was it rotated? Name the new one, and trust it: "
                "mlflow-governance trust add NAME --key FILE.pub --for signature",
            ) from error
        return value


def is_reference(text: str) -> bool:
    """True when this names a key kept elsewhere: it begins with a known scheme and a colon."""
    return text.partition(":")[0] in EXTRAS and ":" in text


def load_reference(
    uri: str, public: Path | None = None, *, pin: bytes | None = None
) -> ReferencedKey:
    """The key that a URI names.

    Args:
        uri: see above.
        public: its public half, in PEM, where the token or service shall not be asked for it.
        pin: the PIN of a token, where no ``pin-source`` is named.

    Raises:
        ConfigurationError: not a reference; the extra is not installed; the key is absent, out of
            reach or of a kind that is not supported.
        Unavailable: the service that keeps it does not answer.
    """
    from securesystemslib.exceptions import UnsupportedLibraryError
    from securesystemslib.signer import Signer  # type: ignore[attr-defined]

    if not is_reference(uri) or len(uri) > _MAX_URI:
        raise ConfigurationError(
            f"not a reference to a key: {uri[:80]!r}",
            advice=f"It begins with one of {', '.join(scheme + ':' for scheme in EXTRAS)}",
        )
    place, pins = _without_pin(uri, pin)
    try:
        key = _known(public) if public else None
        if key is None:
            place, key = _asked(place, pins)
        signer = Signer.from_priv_key_uri(place, key, pins)
    except UnsupportedLibraryError as error:
        extra = EXTRAS[uri.partition(":")[0]]
        raise ConfigurationError(
            f"the key {uri} needs a library that is not installed: {error}",
            advice=f'Install it: pip install "{extra}"',
        ) from error
    except ConfigurationError:
        raise
    except Exception as error:  # the library documents that anything may be raised
        raise _failure(uri, "cannot be reached", error) from error
    return ReferencedKey(_ours(key), uri, signer)


class _Pins:
    """Hands out the PIN when it is asked for, and reads it only then."""

    def __init__(self, source: str | None, given: bytes | None) -> None:
        self._source = source
        self._given = given

    def __call__(self, _: str) -> str:
        if self._source is not None:
            data = read_secret(Path(self._source), "PIN", "Write the PIN there, and chmod 600.")
            return data.decode("utf-8").rstrip("\r\n")
        if self._given is not None:
            return self._given.decode("utf-8")
        pin = os.environ.get(PIN_VARIABLE)
        if not pin:
            raise ConfigurationError(
                "the token wants a PIN",
                advice=f"Give --password to be asked for it, add ?pin-source=FILE to the key, "
                f"or set {PIN_VARIABLE}.",
            )
        return pin


def _without_pin(uri: str, pin: bytes | None) -> tuple[str, _Pins]:
    """The URI as the library knows it, and where the PIN comes from."""
    if not uri.startswith("hsm:"):
        return uri, _Pins(None, pin)
    parts = urlsplit(uri)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if "pin-value" in query:
        raise ConfigurationError(
            "a PIN in the name of a key is seen by every user of the machine",
            advice="Write it to a file and name that: ?pin-source=FILE",
        )
    unknown = query.keys() - {"label", "pin-source"}
    if unknown or not (parts.path.isdecimal() or not parts.path) or parts.netloc:
        raise ConfigurationError(
            f"not a key on a token: {uri[:80]!r}",
            advice="Write hsm:ID?label=TOKEN&pin-source=FILE, the ID as a decimal number.",
        )
    label = f"?label={quote(query['label'])}" if "label" in query else ""
    return f"hsm:{parts.path}{label}", _Pins(query.get("pin-source"), pin)


def _known(public: Path) -> SSlibKey:
    from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined]

    try:
        with public.open("rb") as file:
            data = file.read(MAX_KEY_BYTES)
    except OSError as error:
        raise ConfigurationError(
            f"the public key {public} cannot be read: {error.strerror}"
        ) from error
    pem = PublicKey.from_pem(data).pem
    return SSlibKey.from_crypto(form.load_pem_public_key(pem.encode("ascii")))


def _asked(place: str, pins: _Pins) -> tuple[str, SSlibKey]:
    """The place with its defaults filled in, and the public half as kept there."""
    from securesystemslib.signer import (  # type: ignore[attr-defined]
        AWSSigner,
        AzureSigner,
        GCPSigner,
        HSMSigner,
        VaultSigner,
    )

    scheme, _, rest = place.partition(":")
    if scheme == "hsm":
        parts = urlsplit(place)
        label = dict(parse_qsl(parts.query)).get("label")
        return HSMSigner.import_(int(parts.path) if parts.path else None, label, pins)
    if scheme == "awskms":
        return AWSSigner.import_(rest)
    if scheme == "gcpkms":
        return GCPSigner.import_(rest)
    if scheme == "hv":
        return _of_version(place, VaultSigner.import_(rest.partition("/")[0]))
    host, path = urlsplit(place).hostname or "", urlsplit(place).path.split("/")
    if not host.endswith(".vault.azure.net") or len(path) not in (3, 4) or path[1] != "keys":
        raise ValueError("not of the form azurekms://VAULT.vault.azure.net/keys/NAME")
    return _of_version(place, AzureSigner.import_(host.partition(".")[0], path[2]))


def _of_version(place: str, newest: tuple[str, SSlibKey]) -> tuple[str, SSlibKey]:
    # These services are asked for the newest version's public half alone.
    if newest[0] != place and not newest[0].startswith(place + "/"):
        raise ValueError(f"its newest version is {newest[0]}")
    return newest


def _ours(key: SSlibKey) -> PublicKey:
    public = key.keyval["public"]
    if key.keytype != "ed25519":
        return PublicKey.from_pem(public)
    raw = ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
    return PublicKey.from_pem(
        raw.public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    )


def _failure(uri: str, what: str, error: Exception) -> ConfigurationError | Unavailable:
    if isinstance(error, ConfigurationError):
        return error
    lines = str(error).splitlines() or [type(error).__name__]
    reason = f"{type(error).__name__}: {lines[0][:_MAX_MESSAGE]}"
    if isinstance(error, OSError):
        return Unavailable(f"the key {uri} {what}: {reason}", advice="Try again when it answers.")
    return ConfigurationError(
        f"the key {uri} {what}: {reason}",
        advice="Check its name, the PIN and what its client reads from the environment.",
    )
