"""Keys in devices: they sign the ledger, and what hangs is given up in time."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mlflow_governance.custody.device import DeviceKey, within
from mlflow_governance.custody.ledger import LedgerSigner
from mlflow_governance.errors import ConfigurationError, Unavailable
from mlflow_governance.evidence.key_reference import PIN_VARIABLE
from mlflow_governance.evidence.keys import FileKey, generate_key_pair, load_private_key
from mlflow_governance.ledger.note import NoteKey
from mlflow_governance.store.unit_of_work import SqlStore
from tests.unit.custody.builders import fill, site

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "1234"
HSM = pytest.mark.skipif(
    not MODULE.exists() or not shutil.which("softhsm2-util"),
    reason="SoftHSM2 (Debian's softhsm2) is the PKCS#11 token these tests need",
)


@dataclass
class Moody:
    """A device that answers when it is let."""

    inner: FileKey
    answers: threading.Event = field(default_factory=threading.Event)
    asked: int = 0

    @property
    def public(self):  # type: ignore[no-untyped-def]
        return self.inner.public

    def sign(self, data: bytes) -> bytes:
        self.asked += 1
        self.answers.wait(60)
        return self.inner.sign(data)


@pytest.fixture
def moody(tmp_path: Path) -> Iterator[Moody]:
    generate_key_pair(tmp_path / "device.pem", algorithm="ecdsa-p256")
    made = Moody(load_private_key(tmp_path / "device.pem"))
    made.answers.set()
    yield made
    made.answers.set()


def test_a_device_that_hangs_is_given_up_and_asked_again_when_it_answers(moody: Moody) -> None:
    key = DeviceKey(moody, "hsm:2", seconds=0.2)
    moody.public.verify(key.sign(b"data"), b"data")
    moody.answers.clear()

    for _ in range(3):
        with pytest.raises(Unavailable, match="hsm:2 did not answer within"):
            key.sign(b"data")
    assert moody.asked == 2  # one call hangs; the others did not queue behind it
    moody.answers.set()
    deadline = time.monotonic() + 30
    while key._late is not None and key._late.is_alive() and time.monotonic() < deadline:
        time.sleep(0.01)
    moody.public.verify(key.sign(b"data"), b"data")


def test_two_keys_of_one_token_take_turns(moody: Moody) -> None:
    turn = threading.Lock()
    one, two = (DeviceKey(moody, "hsm:2", 0.2, turn) for _ in range(2))
    moody.answers.clear()

    for key in (one, two):
        with pytest.raises(Unavailable):
            key.sign(b"data")
    assert moody.asked == 1


def test_the_error_of_a_device_is_what_is_raised() -> None:
    def broken() -> None:
        raise ConfigurationError("no such key")

    with pytest.raises(ConfigurationError, match="no such key"):
        within(30, broken, lambda: Unavailable("late"))


def test_a_device_that_hangs_lets_go_of_the_head_and_nothing_is_written(
    moody: Moody, tmp_path: Path
) -> None:
    place = site(tmp_path)
    place.server()
    shutil.copy(tmp_path / "device.pem", place.home / "keys" / "device.pem")
    (place.home / "keys" / "device.pem").chmod(0o600)
    place.rotate(str(place.home / "keys" / "device.pem"))
    private = DeviceKey(moody, "hsm:2", seconds=0.2)
    public = NoteKey.from_pem("mlflow-governance/ledger", moody.public.pem.encode())
    device = SqlStore(place.sessions, ledger_signer=LedgerSigner(public, "hsm:2", private))
    fill(device, 2)
    moody.answers.clear()

    with pytest.raises(Unavailable):
        fill(device, 1)
    fill(place.server(), 1)  # nobody holds the head
    moody.answers.set()
    assert place.verify() == 1 + 2 + 1


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A token with two P-256 keys; the module reads its settings once in a process."""
    pytest.importorskip("pkcs11")
    home = tmp_path_factory.mktemp("softhsm")
    (home / "tokens").mkdir()
    config = home / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {home / 'tokens'}\nlog.level = ERROR\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(config))
        patch.setenv("PYKCS11LIB", str(MODULE))
        patch.setenv(PIN_VARIABLE, PIN)
        yield


ON_A_TOKEN = """
import subprocess, sys
from pathlib import Path
import pkcs11
from pkcs11.util.ec import encode_named_curve_parameters
from tests.unit.custody.builders import fill, site

label, folder = sys.argv[1], Path(sys.argv[2])
command = ["softhsm2-util", "--init-token", "--free", "--label", label]
subprocess.run([*command, "--pin", "1234", "--so-pin", "5678"], check=True, capture_output=True)
module = pkcs11.lib("/usr/lib/softhsm/libsofthsm2.so")
with module.get_token(token_label=label).open(user_pin="1234", rw=True) as session:
    wanted = {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
    for number in (1, 2, 3):
        domain = session.create_domain_parameters(pkcs11.KeyType.EC, wanted, local=True)
        domain.generate_keypair(store=True, id=bytes([number]), label=str(number))
place = site(folder)
place.configure("ledger_key: hsm:1\\nregistry_key: hsm:2\\n")
fill(place.server(), 3)
assert not list((place.home / "keys").glob("*.pem"))
place.rotate("hsm:3")
fill(place.server(), 1)  # config.yaml still names the key before
place.configure("ledger_key: hsm:3\\nregistry_key: hsm:2\\n")
fill(place.server(), 1)
assert place.verify() == 6
place.configure("ledger_key: hsm:3\\nregistry_key: hsm:3\\n")
(place.home / "keys" / "registry.pub").rename(folder / "registry.pub")
try:
    place.server()
except Exception as error:
    assert "use the same key" in str(error), error
else:
    raise AssertionError("one key on a token for both")
(folder / "registry.pub").rename(place.home / "keys" / "registry.pub")
place.configure("ledger_key: hsm:3\\nregistry_key: hsm:2\\n")
try:
    place.rotate()
except Exception as error:
    assert "--to REFERENCE" in error.advice, error
else:
    raise AssertionError("a key was made where none can be")
"""


@HSM
def test_ledger_and_registry_sign_on_a_token_and_the_ledger_moves_to_another_key_of_it(
    token: None, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", ON_A_TOKEN, "house", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)

    assert done.returncode == 0, done.stderr[-3000:]
