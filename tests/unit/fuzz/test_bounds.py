"""No parser reads more than so many bytes, so deep, or for so long, whoever wrote the bytes."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from mlflow_governance.core import canonical
from mlflow_governance.errors import GovernanceError
from mlflow_governance.evidence import trust_file
from mlflow_governance.evidence.interface import MAX_ITEM_BYTES
from tests.fuzz.targets import TARGETS

SECONDS = 10.0
"""Of this process's own time; a loaded machine makes nothing slower by it."""

_LONG = MAX_ITEM_BYTES + 1
_MANY = 200_000

JSON: dict[str, Callable[[], bytes]] = {
    "white space": lambda: b" " * _LONG + b"{}",
    "one long text": lambda: b'{"payload": "' + b"A" * _LONG + b'"}',
    "members": lambda: b"{" + b",".join(b'"%d":0' % n for n in range(_MANY)) + b"}",
    "values": lambda: b"[" + b"0," * _MANY + b"0]",
    "lists in lists": lambda: b"[" * _MANY,
    "objects in objects": lambda: b'{"a":' * _MANY,
}
YAML = {
    "lists in lists of YAML": lambda: b"- " * 100_000,
    "lists in lists as in JSON": lambda: b"[" * 100_000,
    "mappings in mappings of YAML": lambda: b"{a: " * 100_000,
    "lines of YAML": lambda: b"".join(b"k%d: 0\n" % n for n in range(_MANY)),
    "aliases of aliases": lambda: (
        b"a0: &a0 [x]\n" + b"".join(b"a%d: &a%d [*a%d, *a%d]\n" % (n, n, n - 1, n - 1)
                                     for n in range(1, 60))
    ),
}  # fmt: skip
PEM = {
    "certificates": lambda: b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n" * 9999
}
DER = {"sequences in sequences": lambda: b"\x30\x80" * _MANY}
TEXT = {"zeros": lambda: b"0" * _LONG, "lines": lambda: b"\n" * 10**6}
XML = {"elements in elements": lambda: b"<a>" * 10**6, "elements": lambda: b"<a/>" * 10**6}

FORMATS = {
    "trust-policy": {**YAML, **JSON},
    "private-key": PEM,
    "public-key": PEM,
    "trusted-roots": PEM,
    "time-stamp-authority": PEM,
    "certificate": DER,
    "time-stamp": DER,
    "policy-bundle": DER,
    "test-report": {**XML, **JSON},
    "policy": {},
    "checkpoint": {},
    "witness-request": {},
    "cosignatures": {},
    "ledger-proof": {},
    "verifier-note": {},
    "verifier-key": {},
    "verifier-proof": {},
    "verifier-tile": {},
    "verifier-stamp": DER,
    "verifier-policy": {},
    "verifier-zip": {},
    "verifier-entry": {"members": JSON["members"], "lists in lists": JSON["lists in lists"]},
}
"""What is not here reads JSON."""

SEVERAL = {
    "signed-statement": 16,
    "records": 1,
    "keyless-bundle": 2,
    "test-report": 2,
    "canonical-json": 5,
    "verifier-evidence": 2,
}
"""Targets that read their input so many times, and end quietly."""


@pytest.mark.parametrize(
    ("name", "large"),
    [(name, large) for name in TARGETS for large in {**FORMATS.get(name, JSON), **TEXT}],
)
def test_bytes_without_end_are_refused_at_once(name: str, large: str) -> None:
    data = {**FORMATS.get(name, JSON), **TEXT}[large]()
    target = TARGETS[name]
    started = time.process_time()
    if name in SEVERAL or name == "certificate":
        target.run(data)
    else:
        with pytest.raises(GovernanceError):
            target.parse(data)
    assert time.process_time() - started < SECONDS * SEVERAL.get(name, 1)


def test_a_million_members_are_read_in_time_or_not_at_all() -> None:
    data = b"{" + b",".join(b'"%d":0' % number for number in range(10**6)) + b"}"
    started = time.process_time()
    assert len(canonical.decode_object(data)) == 10**6
    assert time.process_time() - started < SECONDS


def test_a_trust_policy_of_ten_thousand_signers_is_read_in_time() -> None:
    entry = b"- {name: n%d, key: {file: k.pub}, for: [signature]}\n"
    data = b"version: 1\nsigners:\n" + b"".join(entry % number for number in range(10_000))
    started = time.process_time()
    assert len(trust_file.document(data)["signers"]) == 10_000
    assert time.process_time() - started < 2 * SECONDS
