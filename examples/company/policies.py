"""What the company decides in data, before and after; no line of Rego is edited."""

from __future__ import annotations

import json
import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

CARD = {"ACC-006": "warn", "PRO-009": "warn"}
"""The model card is complete: told and not asked yet."""
LICENCES = {"ACC-012": "shadow", "PRO-015": "shadow"}
"""The licence of each model is known: recorded, and told to nobody yet."""
WAIVER = "W-1"


def relaxed(bundle: Path, now: datetime) -> None:
    """What the company begins with: ``wine`` has no tests in CI for another 90 days."""
    config = _read(bundle)
    config["modes"] = CARD | LICENCES
    config["check_waivers"] = [
        {
            "id": WAIVER,
            "model": "wine",
            "check": "ACC-001",
            "owner": "ben",
            "approver": "sam",
            "reason": "the tests of this team move to CI in this quarter",
            "expires": (now + timedelta(days=90)).strftime("%Y-%m-%dT00:00:00Z"),
        }
    ]
    config["risk_floors"] = [{"pattern": "tumour*", "tier": "high"}]
    config["default_floor"] = "low"
    config["licences"]["unknown_tolerated_kinds"] = ["library", "dataset"]
    _write(bundle, config)


def enforced(bundle: Path, copy: Path) -> None:
    """The next step, as a bundle beside: the card is asked, the licence is told."""
    shutil.copytree(bundle, copy)
    config = _read(copy)
    config["modes"] = dict.fromkeys(LICENCES, "warn")
    _write(copy, config)


def shown(bundle: Path) -> str:
    """The lines of data.json that are the company's own."""
    config = _read(bundle)
    keys = ("modes", "check_waivers", "risk_floors", "default_floor")
    return "\n".join(f"{json.dumps(key)}: {json.dumps(config[key])}" for key in keys)


def _read(bundle: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_config(bundle).read_text("utf-8"))
    return found


def _write(bundle: Path, config: dict[str, Any]) -> None:
    _config(bundle).write_text(json.dumps(config, indent=2) + "\n", "utf-8")


def _config(bundle: Path) -> Path:
    return bundle / "registry" / "config" / "data.json"
