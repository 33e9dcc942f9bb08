"""The setting ``checkpoints``: what is misspelt or cannot work is refused when it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlflow_governance import config
from mlflow_governance.errors import ConfigurationError
from mlflow_governance.ledger.cosignature import witness_key
from mlflow_governance.outbox.checkpoint_options import read_options
from tests.unit.ledger.builders import signer

W1, W2 = (witness_key(signer(name)).encode() for name in ("w1.example", "w2.example"))
VAULT = {"name": "vault", "path": "/mnt/vault"}
URL = "https://w.example"


def test_everything_that_can_be_said_is_read(tmp_path: Path) -> None:
    (tmp_path / "tsa.pem").write_bytes(b"chain")
    said = {
        "every_seconds": 30,
        "stale_minutes": 15,
        "destinations": [
            {"name": "vault", "path": "vault"},
            {"name": "partner", "url": "https://x.example/l", "method": "POST",
             "token_variable": "T", "ca_file": "ca.pem"},
            {"name": "bucket", "s3": "s3://b/p", "lock_days": 2557, "lock_mode": "GOVERNANCE"},
        ],
        "timestamping": {"url": "http://tsa.example", "chain": "tsa.pem"},
        "witnesses": [{"vkey": W1, "url": URL + "/"}, {"vkey": W2, "url": URL}],
        "witness_quorum": 1,
    }  # fmt: skip

    options = read_options(tmp_path, said)

    assert options.destinations[0].path == tmp_path / "vault"
    assert options.destinations[1].ca_file == str(tmp_path / "ca.pem")
    assert options.timestamping is not None
    assert options.timestamping.chain == b"chain"
    assert options.quorum is not None
    assert (options.quorum.count, len(options.quorum.witnesses)) == (1, 2)
    assert options.witnesses[0].url == URL


def test_without_a_quorum_every_witness_must_cosign(tmp_path: Path) -> None:
    both = [{"vkey": W1, "url": URL}, {"vkey": W2, "url": URL}]
    quorum = read_options(tmp_path, {"witnesses": both}).quorum

    assert quorum is not None
    assert quorum.count == 2


@pytest.mark.parametrize(
    "said",
    [
        [],
        {"destination": []},
        {"destinations": {}},
        {"destinations": [{"path": "/x"}]},
        {"destinations": [{"name": "a"}]},
        {"destinations": [{"name": "a", "path": "/x", "url": "https://x.example"}]},
        {"destinations": [{"name": "a", "url": "http://x.example"}]},
        {"destinations": [{"name": "a", "url": "https://me:secret@x.example"}]},
        {"destinations": [{"name": "a", "url": "https://x.example", "method": "PATCH"}]},
        {"destinations": [{"name": "a", "s3": "https://x.example"}]},
        {"destinations": [{"name": "a", "s3": "s3://"}]},
        {"destinations": [{"name": "a", "s3": "s3://b", "lock_days": "7"}]},
        {"destinations": [{"name": "a", "path": "/x", "lock_days": 7}]},
        {"destinations": [{"name": "home", "path": "/x"}]},
        {"destinations": [{"name": "witness:x", "path": "/x"}]},
        {"destinations": [{"name": "x" * 41, "path": "/x"}]},
        {"destinations": [VAULT, VAULT]},
        {"destinations": [{**VAULT, "name": f"v{n}"} for n in range(17)]},
        {"every_seconds": 0},
        {"every_seconds": True},
        {"stale_minutes": "1"},
        {"witness_quorum": 1},
        {"witnesses": [{"vkey": W1}]},
        {"witnesses": [{"vkey": W1, "url": "http://w.example"}]},
        {"witnesses": [{"vkey": "w1", "url": URL}]},
        {"witnesses": [{"vkey": W1, "url": URL}] * 2},
        {"witnesses": [{"vkey": W1, "url": URL}], "witness_quorum": 2},
        {"witnesses": [{"vkey": W1, "url": URL}], "witness_quorum": True},
        {"timestamping": {"url": "https://tsa.example"}},
        {"timestamping": {"url": "https://tsa.example", "chain": "nowhere.pem"}},
        {"timestamping": {"url": "ftp://tsa.example", "chain": "nowhere.pem"}},
    ],
)
def test_what_cannot_work_is_refused(tmp_path: Path, said: Any) -> None:
    import yaml

    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"checkpoints": said}))

    with pytest.raises(ConfigurationError):
        config.load(tmp_path)
