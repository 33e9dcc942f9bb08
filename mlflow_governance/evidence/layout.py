"""How a model was made, step by step: in-toto layouts and links (specification 1.0).

``layout/root.layout`` says which steps a pipeline has, who may take them, and what goes from one
to the next; ``layout/STEP.KEYID.link`` is a functionary's signed word on what went in and what
came out. Checked in this order:

1. the layout asks for nothing to be run, is within bounds, and one of its owners signed it: a
   signer the trust policy allows for ``layout``, this model and this moment;
2. it has not expired at that moment;
3. every link there is of one of its steps and signed by one of that step's functionaries, and
   each step has as many as its threshold. A link that does not count is a refusal, not a gap;
4. the links of a step agree about what went in and what came out;
5. the rules of every step hold; what no rule speaks of is refused, as if each list of rules
   ended with ``DISALLOW *``;
6. the products of the last step are the files of the model: all of them, and nothing else.

No command is ever run and no file read: neither inspections (refused), nor ``expected_command``
(not looked at). The library's own ``in_toto_verify`` does both, and works in the current folder.
"""

from __future__ import annotations

import posixpath
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mlflow_governance.core import moment
from mlflow_governance.core.manifest import Manifest
from mlflow_governance.errors import EvidenceMissing, InvalidRequest, VerificationError
from mlflow_governance.evidence import in_toto_files
from mlflow_governance.evidence.authority import KeyHolder
from mlflow_governance.evidence.in_toto_files import SignedFile, refusing
from mlflow_governance.evidence.interface import Case, EvidenceItem, Kind
from mlflow_governance.evidence.keys import PublicKey
from mlflow_governance.evidence.predicate import Purpose

FOLDER = "layout/"
ROOT = "layout/root.layout"
LINK = ".link"

MAX_LINKS = 48
_MAX_WORK = 1_000_000
"""Artifacts times rules of one layout, a rule counting once more for every star in its pattern:
that is what a comparison costs, a microsecond at most for each."""
_MAX_NAMED = 20

# The library keeps the trail of the rule it is at in one global for all threads.
_RULES = threading.Lock()


class LayoutVerifier:
    """Proves that the model came out of the pipeline its owners laid out.

    Facts: ``owners`` (names of the trusted signers of the layout), ``steps`` (in order:
    ``{name, threshold, functionaries}``, these being ``sha256:<hex>`` over the DER form of the
    keys whose links count, sorted), ``expires`` (instant), ``products`` (how many files).
    """

    kind = Kind.LAYOUT

    def verify(self, case: Case) -> Mapping[str, Any]:
        """The facts of the layout and its links.

        Raises:
            EvidenceMissing: there is no layout.
            VerificationError: it, or a link, is malformed, of nobody trusted, expired or broken;
                or the model is not what the last step made, and then the message names files.
        """
        root, items = _items(case)
        layout = in_toto_files.read_layout(root)
        owners = _signed_by(layout, _owners(case), case)
        expires = _expiry(layout, case.now)
        keys = in_toto_files.functionaries(layout)
        links = _links(layout, items)
        _refuse_uncounted(layout, links)
        _refuse_disagreement(links)
        _follow_rules(layout, links)
        products = _last_products(layout, links)
        _compare(products, case.manifest)
        return {
            "owners": owners,
            "steps": [_step_facts(step, links, keys) for step in layout.document["steps"]],
            "expires": moment.to_text(expires),
            "products": len(products),
        }


@dataclass(frozen=True, slots=True)
class _Link:
    """A link, and the step and key id of the layout it is for."""

    step: str
    key_id: str
    file: SignedFile


def link_name(step: str, key_id: str) -> str:
    """The name in-toto gives a link, below the evidence folder."""
    return f"{FOLDER}{step}.{key_id[:8]}{LINK}"


def _items(case: Case) -> tuple[EvidenceItem, list[EvidenceItem]]:
    named = [i for i in case.items if i.name == ROOT]
    links = [i for i in case.items if i.name.startswith(FOLDER) and i.name.endswith(LINK)]
    if not named and not links:
        raise EvidenceMissing(
            "no in-toto layout is attached",
            advice="Attach one with its links: mlflow-governance submit MODEL --layout FOLDER",
        )
    if len(named) != 1:
        raise VerificationError(f"{ROOT} is attached {len(named)} times; one is needed")
    if len(links) > MAX_LINKS:
        raise VerificationError(f"{len(links)} links are attached; at most {MAX_LINKS} are read")
    if len({item.name for item in links}) != len(links):
        raise VerificationError("a link is attached more than once")
    return named[0], sorted(links, key=lambda item: item.name)


def _owners(case: Case) -> list[tuple[str, PublicKey]]:
    """Whose word on a layout counts here. Signers without a key of their own cannot own one."""
    signers = case.trust.keys_for(Purpose.LAYOUT, case.model_name, case.now)
    return [(signer.name, signer.by.key) for signer in signers if isinstance(signer.by, KeyHolder)]


def _signed_by(
    layout: SignedFile, owners: Sequence[tuple[str, PublicKey]], case: Case
) -> list[str]:
    found = sorted({name for name, key in owners if layout.is_signed_by(key)})
    if not found:
        raise VerificationError(
            f"{layout.name} is signed by nobody trusted for layouts of {case.model_name}",
            advice=f"Allow its owner: mlflow-governance trust add NAME --key FILE.pub "
            f"--for {Purpose.LAYOUT}",
        )
    case.trust.require(Purpose.LAYOUT, case.model_name, found)
    return found


def _expiry(layout: SignedFile, now: datetime) -> datetime:
    try:
        expires = moment.parse(layout.document["expires"])
    except InvalidRequest as error:
        raise VerificationError(f"{layout.name}: {error.message}") from error
    if expires <= now:
        raise VerificationError(
            f"{layout.name} expired at {moment.to_text(expires)}",
            advice="Have its owner sign a layout that expires later, and submit again.",
        )
    return expires


def _links(layout: SignedFile, items: Sequence[EvidenceItem]) -> list[_Link]:
    """Every link attached, by the step and key its name says it is for."""
    places: dict[str, tuple[str, str]] = {}
    for step in layout.document["steps"]:
        for key_id in step["pubkeys"]:
            name = link_name(step["name"], key_id)
            if name in places:
                raise VerificationError(f"{layout.name} names two links alike: {name}")
            places[name] = (step["name"], key_id)
    links: list[_Link] = []
    for item in items:
        if item.name not in places:
            raise VerificationError(f"{item.name} is of no step and functionary of {layout.name}")
        step_name, key_id = places[item.name]
        file = in_toto_files.read_link(item)
        # The library goes by the file's name alone: it would take one step's link for another's.
        if file.document["name"] != step_name:
            raise VerificationError(f"{item.name} is the link of another step")
        links.append(_Link(step_name, key_id, file))
    return links


def _refuse_uncounted(layout: SignedFile, links: Sequence[_Link]) -> None:
    from in_toto.verifylib import verify_link_signature_thresholds

    given: dict[str, dict[str, Any]] = {}
    for link in links:
        given.setdefault(link.step, {})[link.key_id] = link.file.library
    with refusing(f"{layout.name} does not hold"):
        counted = verify_link_signature_thresholds(layout.library.get_payload(), given)
    for link in links:
        if link.key_id not in counted[link.step]:
            raise VerificationError(
                f"{link.file.name} is not signed by the functionary it is named after"
            )


def _refuse_disagreement(links: Sequence[_Link]) -> None:
    # The library compares the links of a step only where its threshold is above one, and
    # otherwise follows whichever comes first.
    first: dict[str, _Link] = {}
    for link in links:
        other = first.setdefault(link.step, link).file
        for word in ("materials", "products"):
            if link.file.document[word] != other.document[word]:
                raise VerificationError(f"{other.name} and {link.file.name} disagree on {word}")


def _follow_rules(layout: SignedFile, links: Sequence[_Link]) -> None:
    from in_toto.verifylib import verify_item_rules

    with refusing(f"{layout.name} does not hold"):
        steps = {link.step: link.file.library.get_payload() for link in links}
        plan = layout.library.get_payload()
    _refuse_endless(layout, links)
    for step in plan.steps:
        for word, rules in (
            ("materials", step.expected_materials),
            ("products", step.expected_products),
        ):
            with _RULES, refusing(f"the {word} of the step {step.name}"):
                verify_item_rules(step.name, word, [*rules, ["DISALLOW", "*"]], steps)


def _refuse_endless(layout: SignedFile, links: Sequence[_Link]) -> None:
    sizes = {link.step: link.file.document for link in links}
    work = sum(
        (2 + sum(1 + rule[1].count("*") for rule in step[f"expected_{word}"]))
        * len(sizes[step["name"]][word])
        for step in layout.document["steps"]
        for word in ("materials", "products")
    )
    if work > _MAX_WORK:
        raise VerificationError(f"{layout.name} has too many rules for so many files")


def _last_products(layout: SignedFile, links: Sequence[_Link]) -> dict[str, str]:
    """Name to SHA-256; the steps are in the order they are taken (specification 1.0, 4.3)."""
    last = layout.document["steps"][-1]["name"]
    document = next(link.file.document for link in links if link.step == last)
    return {name: digests["sha256"] for name, digests in document["products"].items()}


def _compare(products: Mapping[str, str], manifest: Manifest) -> None:
    there = {file.name: file.sha256 for file in manifest.files}
    prefix = _prefix(products, there)
    made = {name.removeprefix(prefix): value for name, value in products.items()}
    both = made.keys() & there.keys()
    changed = [
        *(f"file changed: {name}" for name in sorted(both) if made[name] != there[name]),
        *(f"file missing: {name}" for name in sorted(made.keys() - both)),
        *(f"file added: {name}" for name in sorted(there.keys() - both)),
    ]
    if changed:
        more = len(changed) - _MAX_NAMED
        listed = changed[:_MAX_NAMED] + ([f"and {more} more"] if more > 0 else [])
        raise VerificationError(f"the model is not what the last step made: {'; '.join(listed)}")


def _prefix(products: Mapping[str, str], there: Mapping[str, str]) -> str:
    """The one folder, with its slash, that holds all products; the one that explains most."""
    folders = []
    common = posixpath.commonpath([posixpath.dirname(name) for name in products] or [""])
    while common:
        folders.append(common + "/")
        common = posixpath.dirname(common)
    folders.append("")
    return max(folders, key=lambda folder: sum(n.removeprefix(folder) in there for n in products))


def _step_facts(
    step: Mapping[str, Any], links: Sequence[_Link], keys: Mapping[str, str]
) -> dict[str, Any]:
    signers = sorted(keys[link.key_id] for link in links if link.step == step["name"])
    return {"name": step["name"], "threshold": step["threshold"], "functionaries": signers}
