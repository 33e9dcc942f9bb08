"""Vectors on which we differ from their authors, and why. Whatever is not here agrees."""

from __future__ import annotations

from collections.abc import Mapping

_IGNORED = (
    "The signature lists `ignore-me` among `ignore_paths`. We never listen to that: a file nobody "
    "signed is refused. Over the files signed it verifies."
)
_DOT = (
    "Made over a single file, which it names `.`; no file of a model has that name. The stock tool "
    "no longer verifies it either."
)
_OLD_BUNDLE = (
    "A bundle older than v0.3. The keyless verifier reads it; as evidence only v0.3 is taken, "
    "since in older ones a chain may be of Sigstore or of anybody."
)

DIFFERENCES: Mapping[str, str] = {
    "v0.2.0-certificate": "Made before the format was settled: signed is Python's spelling of the "
    "payload, `b'…'`, and of it the SHA-256 by a P-384 key.",
    "v0.3.1-elliptic-key": _DOT,
    "v1.0.0-elliptic-key": _DOT,
    "v1.0.1-certificate": _IGNORED,
    "v1.0.1-elliptic-key": _IGNORED,
    "v1.0.1-sigstore": _IGNORED,
    "v1.1.0-certificate": _IGNORED,
    "v1.1.0-elliptic-key": _IGNORED,
    "v1.1.0-sigstore": _IGNORED,
    "happy-path-v0.1": _OLD_BUNDLE,
    "happy-path-v0.2": _OLD_BUNDLE,
    "intoto-with-custom-trust-root": "sigstore-python does not read log entries of the type "
    "intoto 0.0.2, which Rekor no longer writes. And a bundle older than v0.3.",
    "trust-root-tlog-validity-end-inclusive": "A log counts while it was in service until the "
    "signing certificate expired, not just at the instant it gave itself: a log's own word is no "
    "proof of when its key was withdrawn. And a bundle older than v0.3.",
    "trust-root-tsa-validity-end-inclusive": "sigstore-python takes the last instant of a time "
    "stamp authority for outside. It is one second.",
}
