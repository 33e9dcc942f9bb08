"""The process in which policies nobody vouches for are parsed and evaluated, and how to talk to it.

A Rego interpreter has no bounds of its own: nine million pairs hold a process for seconds, a few
thousand brackets hold its parser for good, and running out of memory ends the process. So it gets a
process of its own, with limits the kernel enforces, which may die at any moment without harm.

Both sides send frames: one byte that says what it is, four bytes of length, the bytes.

======  ==========  ==============================================================
parent  ``limits``  JSON ``{seconds, load_seconds, megabytes, lints}``
        ``bundle``  JSON, text of every file by path
        ``ask``     the rule, a line break, the input as JSON
child   ``doing``   what it begins now, for the report if it never ends
        ``ready``   the name of the engine
        ``answer``  the value of the rule as JSON
        ``error``   JSON ``[code, message]``
======  ==========  ==============================================================

The program reads its limits before it reads anything foreign, and imports nothing that opens files
or connections afterwards. It ends when its parent does: at the end of its input, or, in the middle
of an evaluation, when the processor time of one decision is used up.
"""

from __future__ import annotations

import json
import math
import os
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow_governance.policy.bundle import Bundle
    from mlflow_governance.policy.embedded import EmbeddedEngine

LIMITS, BUNDLE, ASK = b"l", b"b", b"a"
DOING, READY, ANSWER, ERROR = b"d", b"r", b"=", b"!"
HEADER = struct.Struct(">cI")
MAX_FRAME = 32 * 1024 * 1024
"""More than any bundle or dossier may have, in JSON."""

_OPEN_FILES = 64
_MEBIBYTE = 1024 * 1024


def frame(kind: bytes, data: bytes) -> bytes:
    """One frame as sent."""
    return HEADER.pack(kind, len(data)) + data


def main() -> None:
    """Serve one parent over standard input and output until it goes away."""
    answers = os.dup(1)
    os.dup2(2, 1)  # what an engine prints is no answer
    channel = _Channel(0, answers)
    with suppress(EOFError, BrokenPipeError, KeyboardInterrupt):
        limits = json.loads(channel.receive(LIMITS))
        _confine(limits["megabytes"])
        _allow_seconds(limits["load_seconds"])
        engine = _load(channel, channel.receive(BUNDLE), lints=limits["lints"])
        while engine is not None:
            rule, _, document = channel.receive(ASK).partition(b"\n")
            _allow_seconds(limits["seconds"])
            _answer(channel, engine, rule.decode(), document)


class _Channel:
    def __init__(self, source: int, target: int) -> None:
        self._source = source
        self._target = target

    def receive(self, wanted: bytes) -> bytes:
        kind, length = HEADER.unpack(self._read(HEADER.size))
        if kind != wanted or length > MAX_FRAME:
            raise EOFError
        return self._read(length)

    def send(self, kind: bytes, data: str) -> None:
        view = memoryview(frame(kind, data.encode("utf-8", "replace")))
        while view:
            view = view[os.write(self._target, view) :]

    def _read(self, length: int) -> bytes:
        data = bytearray()
        while len(data) < length:
            piece = os.read(self._source, min(length - len(data), _MEBIBYTE))
            if not piece:
                raise EOFError
            data += piece
        return bytes(data)


def _confine(megabytes: int) -> None:
    try:
        import resource
    except ImportError:  # not on Windows: there the parent's deadline is all
        return
    bounds = {
        "RLIMIT_AS": megabytes * _MEBIBYTE,
        "RLIMIT_CORE": 0,
        "RLIMIT_FSIZE": 0,
        "RLIMIT_NOFILE": _OPEN_FILES,
    }
    for name, bound in bounds.items():
        kind = getattr(resource, name, None)
        if kind is None:
            continue
        hard = resource.getrlimit(kind)[1]
        least = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        # macOS knows the address space only by name and refuses to bound it.
        with suppress(ValueError, OSError):
            resource.setrlimit(kind, (least, least))


def _allow_seconds(seconds: float) -> None:
    # For the parent that is killed while an evaluation has no end: nobody else would stop it. And
    # for a trial, which must not refuse good policies because the machine has much else to do.
    try:
        import resource
    except ImportError:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    allowed = math.ceil(used.ru_utime + used.ru_stime + seconds)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (allowed, hard))


def _load(channel: _Channel, data: bytes, *, lints: bool) -> EmbeddedEngine | None:
    from mlflow_governance.errors import GovernanceError
    from mlflow_governance.policy.bundle import from_files
    from mlflow_governance.policy.embedded import EmbeddedEngine

    try:
        bundle = from_files({name: text.encode() for name, text in json.loads(data).items()})
        _parse_each(channel, bundle)
        if lints:
            _refuse_impure(channel, bundle)
        channel.send(DOING, "compiling")
        engine = EmbeddedEngine(bundle)
    except MemoryError:
        channel.send(ERROR, json.dumps(["ENG-MEMORY", "out of memory"]))
        return None
    except (GovernanceError, RecursionError) as error:
        channel.send(ERROR, json.dumps(["ENG-ERROR", f"{error}"[:2000]]))
        return None
    channel.send(READY, engine.name)
    return engine


def _parse_each(channel: _Channel, bundle: Bundle) -> None:
    # One by one, and said before: a parser that does not come back cannot name the file.
    import regorus

    for name, source in bundle.modules.items():
        channel.send(DOING, f"parsing {name}")
        # What does not parse is explained by the engine that is made of all of them.
        with suppress(RuntimeError):
            regorus.Engine().add_policy(name, source)


def _refuse_impure(channel: _Channel, bundle: Bundle) -> None:
    from mlflow_governance.errors import ConfigurationError
    from mlflow_governance.policy.lint import lint

    channel.send(DOING, "looking for builtins that depend on more than the dossier")
    found = [str(finding) for finding in lint(bundle) if finding.rule == "impure-builtin"]
    if found:
        raise ConfigurationError("; ".join(found[:5]))


def _answer(channel: _Channel, engine: EmbeddedEngine, rule: str, document: bytes) -> None:
    from mlflow_governance.policy.interface import EngineError

    try:
        text = json.dumps(engine.query(rule, document), ensure_ascii=False)
    except EngineError as error:
        code = "ENG-MEMORY" if isinstance(error.__cause__, MemoryError) else error.reason_code
        channel.send(ERROR, json.dumps([code, error.message]))
    else:
        channel.send(ANSWER, text)


if __name__ == "__main__":
    main()
