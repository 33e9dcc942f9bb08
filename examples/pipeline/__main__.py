"""Take all four steps, each in a process of its own, signed by whoever takes it.

python -m examples.pipeline OUT
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

from examples.pipeline.people import make_keys
from examples.pipeline.plan import HANDS, PLACES, write_layout

_STEPS = Path(__file__).parent / "steps"


def main(arguments: list[str] | None = None) -> int:
    """Run the pipeline; exit code 0 when every step was taken."""
    parser = argparse.ArgumentParser(prog="python -m examples.pipeline", description=__doc__)
    parser.add_argument("out", type=Path, help="a new folder for keys, work and layout")
    out = parser.parse_args(arguments).out.resolve()
    if out.exists():
        parser.error(f"{out} exists already")
    keys, work, layout = out / "keys", out / "made", out / "layout"
    make_keys(keys)
    layout.mkdir()
    write_layout(keys, layout)
    _lay_out_work(work)
    for step, hands in HANDS.items():
        for hand in hands:
            take(step, keys / f"{hand}.pem", work, layout)
            print(f"{step}: taken and signed by {hand}")
    print(_NEXT.format(out=out))
    return 0


def take(step: str, key: Path, work: Path, layout: Path) -> None:
    """One person takes one step, with in-toto's own command, and signs what went in and out."""
    materials, products = PLACES[step]
    for product in products:
        _remove(work / product)  # nobody signs for what somebody else made
    command = [str(Path(sys.executable).with_name("in-toto-run")), "--step-name", step]
    command += ["--signing-key", str(key), "--use-dsse", "--metadata-directory", str(layout)]
    command += ["--materials", *materials, "--products", *products, "--run-timeout", "300"]
    subprocess.run(
        [*command, "--", sys.executable, f"src/{step}.py"],
        cwd=work,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    # in-toto-run signs for a program that failed, too; its link says so.
    if not all((work / product).exists() for product in products):
        sys.exit(f"the step {step} made nothing")


def _lay_out_work(work: Path) -> None:
    shutil.copytree(_STEPS, work / "src", ignore=shutil.ignore_patterns("__pycache__"))
    raw = work / "raw"
    raw.mkdir()
    shipped = resources.files("sklearn.datasets.data") / "breast_cancer.csv"
    (raw / "breast_cancer.csv").write_bytes(shipped.read_bytes())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


_NEXT = """
The model is in {out}/made/model, its layout and links in {out}/layout.
examples/pipeline/README.md says how to submit it."""

if __name__ == "__main__":
    sys.exit(main())
