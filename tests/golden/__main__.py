"""``python -m tests.golden``: make the set of this release, once."""

from __future__ import annotations

import shutil
import sys
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.golden.make import make_set
from tests.golden.sets import SETS


def main() -> int:
    """Write the set; refuse to touch one that is there: others rely on it staying as it is."""
    project = tomllib.loads((SETS.parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
    folder = SETS / project["version"]
    if folder.exists():
        print(f"{folder} is there already. A set is never changed; raise the version first.")
        return 1
    with TemporaryDirectory() as place:
        for name in make_set(Path(place) / folder.name):
            print(name)
        shutil.copytree(Path(place) / folder.name, folder)  # all of it, or nothing
    return 0


if __name__ == "__main__":
    sys.exit(main())
