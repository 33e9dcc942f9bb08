"""The ledger's keys: which one signs now, which ones signed before, and changing them.

::

    keys/ledger.pem            signs the ledger, unless ``ledger_key`` names another place
    keys/ledger.pub            its public half
    keys/ledger.vkeys          every key the ledger had, oldest first (C2SP verifier keys)
    keys/ledger.next.pem       the key to come, while it is handed over to
    keys/ledger.next           the place of the key to come, where that is elsewhere
    keys/ledger-1a2b3c4d.pem.retired    a key that signs no more

Which private key signs is decided by the head of the ledger, not by a file's name: of the places
above the one that holds the key the ledger was handed over to. So a change of keys that ends in
the middle leaves an installation that works, and the next start finishes it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from mlflow_governance.config import Settings
from mlflow_governance.custody import device, files
from mlflow_governance.errors import ConfigurationError, GovernanceError, LedgerError
from mlflow_governance.evidence.key_reference import is_reference
from mlflow_governance.evidence.keys import PrivateKey, generate_key_pair
from mlflow_governance.ledger import handover
from mlflow_governance.ledger.handover import KeyHistory
from mlflow_governance.ledger.note import NoteKey

LEDGER_NAME = "ledger"


@dataclass(frozen=True)
class LedgerSigner:
    """``ledger.note.NoteSigner`` over any private key of ours."""

    key: NoteKey
    place: Path | str
    _private: PrivateKey = field(repr=False, compare=False)

    def sign(self, data: bytes) -> bytes:
        """See :class:`~mlflow_governance.ledger.note.NoteSigner`."""
        return self._private.sign(data)


def origin(settings: Settings) -> str:
    """The name the ledger's notes are signed under."""
    return f"{settings.registry_name}/{LEDGER_NAME}"


def open_signer(settings: Settings, place: Path | str) -> LedgerSigner:
    """The ledger key at a place.

    Raises:
        ConfigurationError: absent, unsafe, out of reach, or neither Ed25519 nor ECDSA P-256.
        Unavailable: the service that keeps the key does not answer.
    """
    if isinstance(place, Path):
        files.require_private(place)
    private = device.open_place(place)
    key = NoteKey.from_pem(origin(settings), private.public.pem.encode())
    return LedgerSigner(key, place, private)


def ledger_signer(settings: Settings) -> LedgerSigner:
    """The key that signs the ledger now.

    Raises:
        ConfigurationError: absent or unsafe, or another one than the ledger is signed with.
        Unavailable: the service that keeps the key does not answer.
    """
    _require_home(settings)
    known = _pinned(settings)
    if known is None:
        return open_signer(settings, settings.ledger_key)
    found = _find(settings, lambda key: key == known.newest)
    if found is None:
        named = open_signer(settings, settings.ledger_key)
        raise ConfigurationError(
            f"{settings.ledger_key} holds the key {_name(named.key)}, and the ledger is signed "
            f"with {_name(known.newest)}",
            advice="Name the key it is signed with as ledger_key in config.yaml. Another one "
            "takes over with: mlflow-governance keys rotate ledger --to PLACE --reason WHY",
        )
    return found


def successor(settings: Settings) -> Callable[[str], LedgerSigner | None]:
    """Finds the key that goes on from a head, after another process changed it."""

    def find(note: str) -> LedgerSigner | None:
        def fits(key: NoteKey) -> bool:
            with suppress(LedgerError):
                return bool(handover.succeeded(note, key))
            return False

        return _find(settings, fits)

    return find


def _require_home(settings: Settings) -> None:
    if not settings.home.is_dir():
        raise ConfigurationError(
            f"there is no folder {settings.home}", advice="Name the home folder: --home DIR"
        )


def known_keys(settings: Settings) -> KeyHistory:
    """Every key of the ledger that the home folder names, oldest first.

    Raises:
        ConfigurationError: there is none, or it cannot be read.
    """
    _require_home(settings)
    known = _pinned(settings)
    if known is not None:
        return known
    try:
        pem = settings.ledger_public.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"the ledger's public key {settings.ledger_public} cannot be read: {error}",
            advice="Name the home folder: --home DIR",
        ) from error
    return KeyHistory((NoteKey.from_pem(origin(settings), pem),))


def ledger_keys(settings: Settings) -> KeyHistory:
    """Those keys, with the handovers that the exported checkpoints prove.

    Raises:
        ConfigurationError: there is none, or it cannot be read.
        LedgerError: the exported checkpoints tell of another history.
    """
    return known_keys(settings).following(_exported(settings))


def prepare(settings: Settings) -> list[str]:
    """Make the ledger's key where there never was one; returns what was made.

    Raises:
        ConfigurationError: the key is unsafe, or not the one the ledger is signed with.
    """
    created, place = [], settings.ledger_key
    never = not _history_file(settings).exists() and not settings.ledger_public.exists()
    if never and isinstance(place, Path) and not place.exists():
        generate_key_pair(place, algorithm="ed25519")
        created.append(f"{place}: signs the ledger")
    if not _history_file(settings).exists():
        key = open_signer(settings, place).key
        _require_known(settings, key)
        _write_public(settings, KeyHistory((key,)))
    ledger_signer(settings)
    return created


def settle(settings: Settings, notes: Iterable[str]) -> KeyHistory:
    """Bring the home folder to what the ledger says of its keys; whatever was left is finished.

    Args:
        settings: of the installation.
        notes: the checkpoints of the database.

    Raises:
        ConfigurationError: the folder cannot be written.
        LedgerError: the notes contradict what is known here.
    """
    with locked(settings):
        return finish(settings, notes)


def finish(settings: Settings, notes: Iterable[str]) -> KeyHistory:
    """:func:`settle` for who holds the lock."""
    told = [note for note in notes if handover.tells(note)]
    history = known_keys(settings).following(told)
    if not history.proved:  # years of checkpoints are not read at each start
        history = history.following(_exported(settings))
    for note in told:
        said = handover.read(note)
        if said is not None and said in history.handovers:
            _export(settings, said.at.size, note)
    known = _pinned(settings)
    if known is None or known.keys != history.keys or not settings.ledger_public.exists():
        _write_public(settings, history)
    _move_keys(settings, history)
    if _pointed(settings) == str(settings.ledger_key):
        _pointer(settings).unlink(missing_ok=True)
    return history


def next_place(settings: Settings) -> Path:
    """Where a new private key waits until it signs."""
    return settings.home / "keys" / "ledger.next.pem"


def point_to(settings: Settings, place: str) -> None:
    """Note the place of a key to come, so that running servers find it."""
    files.write(_pointer(settings), f"{place}\n".encode(), 0o600)


def retired_place(place: Path, key: NoteKey) -> Path:
    """Where the file of a key that signs no more is kept: beside where it was."""
    return place.with_name(f"ledger-{key.key_id.hex()}.pem.retired")


@contextmanager
def locked(settings: Settings) -> Iterator[None]:
    """Hold the folder of keys: of several processes one at a time changes it."""
    import fcntl

    descriptor = os.open(settings.home / "keys", os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _find(
    settings: Settings, fits: Callable[[NoteKey], bool], *, quiet: bool = False
) -> LedgerSigner | None:
    """The first key of ours that fits; unless ``quiet``, what is wrong with others if none does."""
    problem: GovernanceError | None = None
    for place in _places(settings):
        try:
            found = open_signer(settings, place)
        except GovernanceError as error:
            problem = problem or error
            continue
        if fits(found.key):
            return found
    if problem is not None and not quiet:
        raise problem
    return None


def _places(settings: Settings) -> Iterator[Path | str]:
    yield settings.ledger_key
    if next_place(settings).exists():
        yield next_place(settings)
    if named := _pointed(settings):
        yield named if is_reference(named) else Path(named)


def _pinned(settings: Settings) -> KeyHistory | None:
    path = _history_file(settings)
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the ledger's keys {path} cannot be read: {error}") from error
    try:
        history = KeyHistory.parse(text)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"{path}: {error.message}", advice="Restore it from a backup of the home folder."
        ) from error
    if history.name != origin(settings):
        raise ConfigurationError(
            f"the ledger is signed as {history.name}, and registry_name would make it "
            f"{origin(settings)}",
            advice="Set registry_name in config.yaml back to what it was.",
        )
    return history


def _write_public(settings: Settings, history: KeyHistory) -> None:
    files.write(_history_file(settings), history.encode().encode())
    files.write(settings.ledger_public, history.newest.pem)


def _require_known(settings: Settings, key: NoteKey) -> None:
    path = settings.ledger_public
    if path.exists() and NoteKey.from_pem(key.name, path.read_bytes()) != key:
        raise ConfigurationError(
            f"{path} is not the public half of {settings.ledger_key}",
            advice="Restore both from the same backup of the home folder.",
        )


def _move_keys(settings: Settings, history: KeyHistory) -> None:
    """The file of the key that signs now takes its place; the one of the key before is retired."""
    place, coming = settings.ledger_key, next_place(settings)
    if not isinstance(place, Path):
        return
    old = open_signer(settings, place).key if place.exists() else None
    heir = _find(settings, lambda key: key == history.newest, quiet=True)
    if heir is None or heir.place == place:
        return  # where the new key is not, the old one is left to be asked about
    if old is not None and old in history.keys:
        with suppress(FileExistsError):
            os.link(place, retired_place(place, old))
    if heir.place == coming:
        coming.replace(place)  # at no moment is there no key
        coming.with_suffix(".pub").unlink(missing_ok=True)
    elif old is not None and old in history.keys:
        place.unlink()
    files.sync_folder(place.parent)


def _exported(settings: Settings) -> Iterator[str]:
    for path in sorted(settings.checkpoint_folder.glob("*.checkpoint")):
        with suppress(OSError, UnicodeDecodeError):
            yield path.read_text("utf-8")


def _export(settings: Settings, size: int, note: str) -> None:
    path = settings.checkpoint_folder / f"{size:012d}.checkpoint"
    if not path.exists() or path.read_text("utf-8") != note:
        path.parent.mkdir(mode=0o700, exist_ok=True)  # a backup may have left an empty one out
        files.write(path, note.encode())


def _history_file(settings: Settings) -> Path:
    return settings.home / "keys" / "ledger.vkeys"


def _pointed(settings: Settings) -> str:
    with suppress(FileNotFoundError):
        return _pointer(settings).read_text("utf-8").strip()
    return ""


def _pointer(settings: Settings) -> Path:
    return settings.home / "keys" / "ledger.next"


def _name(key: NoteKey) -> str:
    return f"{key.name}+{key.key_id.hex()}"
