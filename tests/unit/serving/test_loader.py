from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from mlflow_governance.errors import ConfigurationError, InvalidRequest, VerificationError
from mlflow_governance.serving import load_model
from mlflow_governance.serving.fetch import LiveFetcher
from mlflow_governance.serving.verify import Connections, verify
from tests.unit.serving.builders import (
    NAME,
    NOW,
    URI,
    Summary,
    World,
    blocked,
    features,
    revocations,
)


@pytest.fixture
def offline(world: World) -> World:
    """A consumer that verified the model once and is cut off from the registry since."""
    verify(URI, world.settings, world.connections)
    world.change(offline=True)
    return world


def test_a_verified_model_is_loaded_and_predicts(offline: World) -> None:
    model = load_model(URI, settings=offline.settings, connections=offline.connections)

    assert list(model.predict(features())) == [0, 0, 0, 0, 0]


def test_a_flavor_loads_the_native_model(offline: World) -> None:
    from sklearn.pipeline import Pipeline

    assert isinstance(
        load_model(
            URI, flavor="sklearn", settings=offline.settings, connections=offline.connections
        ),
        Pipeline,
    )


def test_loading_leaves_the_copy_as_it_was_signed(offline: World) -> None:
    for _ in range(2):
        load_model(URI, settings=offline.settings, connections=offline.connections)


def test_a_changed_byte_is_never_loaded(offline: World) -> None:
    path = next(offline.copy.glob("model.*"))
    path.chmod(0o600)
    path.write_bytes(path.read_bytes() + b"x")

    with pytest.raises(VerificationError, match=f"file changed: {path.name}"):
        load_model(URI, settings=offline.settings, connections=offline.connections)


def test_offline_a_newer_list_in_a_file_is_obeyed(offline: World) -> None:
    offline.list_file(revocations(blocked(offline.digest), epoch=8))
    world = Connections(None, LiveFetcher(offline.settings, {}), lambda: NOW)

    with pytest.raises(VerificationError, match="Revoked"):
        load_model(URI, settings=offline.settings, connections=world)


@pytest.mark.parametrize("flavor", ["nonesuch", "version", "../os", "", "pyfunc.utils"])
def test_what_is_no_flavor_is_refused(offline: World, flavor: str) -> None:
    with pytest.raises(InvalidRequest, match="flavor"):
        load_model(URI, flavor=flavor, settings=offline.settings, connections=offline.connections)


def test_a_copy_elsewhere_is_refused(offline: World, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="dst_path"):
        load_model(
            URI, settings=offline.settings, connections=offline.connections, dst_path=str(tmp_path)
        )


def test_a_deprecated_version_is_loaded_with_a_warning(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.decide(Summary(stage="DEPRECATED", at=NOW))
    verify(URI, world.settings, world.connections)
    world.change(offline=True)

    with caplog.at_level(logging.WARNING, "mlflow_governance.serving"):
        load_model(URI, settings=world.settings, connections=world.connections)

    assert f"models:/{NAME}/3 is deprecated" in caplog.text


def test_without_settings_the_environment_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_GOVERNANCE_TRUST", raising=False)

    with pytest.raises(ConfigurationError, match="whom to trust"):
        load_model(URI)


def test_the_clock_of_the_process_is_the_default(offline: World) -> None:
    # The lists of these tests are valid on a day of their own, which is not today.
    offline.change(require=frozenset())

    with pytest.raises(VerificationError, match="revocation list"):
        load_model(URI, settings=offline.settings)


def test_importing_the_package_imports_no_mlflow() -> None:
    program = (
        "import sys; from mlflow_governance.serving import load_model, guard, verify;"
        "sys.exit(any(name.split('.')[0] in ('mlflow', 'requests') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
