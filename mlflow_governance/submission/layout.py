"""An in-toto layout and its links, as a pipeline left them, on their way to the registry."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from mlflow_governance.errors import InvalidRequest, VerificationError
from mlflow_governance.evidence import in_toto_files
from mlflow_governance.evidence.interface import EvidenceItem
from mlflow_governance.evidence.layout import FOLDER, LINK, MAX_LINKS, ROOT

_ROOT = ROOT.removeprefix(FOLDER)
# Neither a link nor a pipe in a file's place is followed or waited for, where the system can tell.
_FLAGS = os.O_RDONLY | sum(
    getattr(os, flag, 0) for flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY")
)
_ADVICE = "Give the folder that holds root.layout and the links of its steps, STEP.KEYID.link."


def read_layout(folder: Path) -> dict[str, bytes]:
    """The files of a folder by their name below ``governance/evidence``, ``layout/…``.

    They are read as the registry will, so that what it cannot use is refused before it is sent;
    whose they are, and whether they hold, only the registry's trust policy can tell.

    Raises:
        InvalidRequest: no such folder, no ``root.layout``, something else than a layout or link,
            a symlink, too many or too large files.
    """
    try:
        names = sorted(entry.name for entry in os.scandir(folder))
    except OSError as error:
        raise InvalidRequest(
            f"the layout folder {folder} cannot be read: {error.strerror}", advice=_ADVICE
        ) from error
    links = [name for name in names if name.endswith(LINK)]
    if _ROOT not in names:
        raise InvalidRequest(f"{folder} holds no {_ROOT}", advice=_ADVICE)
    if others := sorted(set(names) - {_ROOT, *links}):
        raise InvalidRequest(
            f"{folder} holds more than a layout and its links: {', '.join(others[:5])}",
            advice=_ADVICE,
        )
    if len(links) > MAX_LINKS:
        raise InvalidRequest(f"{folder} holds {len(links)} links; at most {MAX_LINKS} are read")
    try:
        root = _read(folder / _ROOT, in_toto_files.MAX_LAYOUT_BYTES)
        in_toto_files.functionaries(in_toto_files.read_layout(root))
        items = [_read(folder / name, in_toto_files.MAX_LINK_BYTES) for name in links]
        for item in items:
            in_toto_files.read_link(item)
    except VerificationError as error:
        raise InvalidRequest(error.message, advice=error.advice or _ADVICE) from error
    return {item.name: item.data for item in (root, *items)}


def _read(path: Path, limit: int) -> EvidenceItem:
    try:
        descriptor = os.open(path, _FLAGS)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise InvalidRequest(f"{path} is not a file", advice=_ADVICE)
            data = file.read(limit + 1)
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read: {error.strerror}", advice=_ADVICE) from error
    if len(data) > limit:
        raise InvalidRequest(f"{path} has more than {limit} bytes", advice=_ADVICE)
    return EvidenceItem(f"{FOLDER}{path.name}", data)
