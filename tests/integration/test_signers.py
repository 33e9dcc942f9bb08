"""Several signers, and one who is withdrawn, on a running server."""

from __future__ import annotations

import pytest
from mlflow.exceptions import MlflowException

from mlflow_governance.errors import Denied
from mlflow_governance.evidence.authority import KeyHolder
from mlflow_governance.evidence.keys import PublicKey, generate_key_pair
from mlflow_governance.evidence.predicate import Purpose
from mlflow_governance.evidence.trust import Signer, add_signer
from tests.integration.world import World


@pytest.fixture
def second(world: World) -> None:
    """A second signer, without whom no model named pair-… is signed."""
    path = world.folder / "second.pem"
    generate_key_pair(path)
    key = PublicKey.from_pem(path.with_suffix(".pub").read_bytes())
    trust = world.server.home / "trust.yaml"
    add_signer(trust, Signer("second", KeyHolder(key), frozenset({Purpose.SIGNATURE})))
    rule = "thresholds:\n- {for: [signature], models: ['pair-*'], least: 2}\n"
    trust.write_text(f"{trust.read_text()}{rule}")


def test_two_sign_a_model_and_one_who_is_withdrawn_takes_it_no_further(
    world: World, second: None
) -> None:
    before = len(world.entries("trust.changed"))
    uri = world.log(seed=4711)
    lacking = "2 must sign a signature of pair-one; 1 did: training"
    with pytest.raises(Denied, match=lacking) as refused:
        world.submit(uri, "--name", "pair-one")
    assert "ACC-002" in refused.value.message
    assert "mlflow-governance sign" in refused.value.message

    said = world.here("alice", "sign", "pair-one/1", "--key", "second.pem")
    assert "attached signatures/" in said
    assert "Candidate" in world.here("alice", "show", "pair-one/1")
    assert len(world.entries("trust.changed")) > before

    home = str(world.server.home)
    world.here("alice", "trust", "withdraw", "second", "--reason", "left", "--home", home)
    with pytest.raises(Denied):
        world.here("alice", "judge", "pair-one/1")
    with pytest.raises(MlflowException, match=lacking):
        world.move("pair-one", 1, "Staging")
