"""What other tools sign."""

import hashlib

from click.testing import CliRunner

from mlflow_governance.cli.main import cli
from mlflow_governance.evidence.hashing import hash_directory


def test_the_manifest_has_the_digest_of_the_model(tmp_path):
    model = tmp_path / "model"
    (model / "governance").mkdir(parents=True)
    (model / "MLmodel").write_text("flavors: {}")
    (model / "governance" / "late.json").write_text("{}")

    done = CliRunner().invoke(cli, ["manifest", str(model), "-o", str(tmp_path / "m.json")])
    printed = CliRunner().invoke(cli, ["manifest", str(model)])

    data = (tmp_path / "m.json").read_bytes()
    wanted = hash_directory(model).digest
    assert f"sha256:{hashlib.sha256(data).hexdigest()}" == wanted
    assert wanted in done.output
    assert printed.stdout.encode() == data
