"""The licences of what the model is made of, for policy to judge.

Only the signed SBOM is believed. Components of one kind under one licence are one entry, so that
a decision looks at as many entries as there are licences and not at as many as there are
components. Whether a licence is allowed, and whether two of them go together, is for policy
(``policies/registry/licences``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlflow_governance.errors import VerificationError
from mlflow_governance.evidence import licence_expression
from mlflow_governance.evidence.interface import Case, Kind
from mlflow_governance.evidence.inventory import Component, ComponentKind
from mlflow_governance.evidence.licence_expression import Licence
from mlflow_governance.evidence.sbom import signed_bom

MAX_LICENCES = 500
"""Different entries; each may be compared with all others."""
MAX_TERMS = 5_000
"""Terms in all choices of all entries; each is held against every rule of the policy's table."""
_MAX_LABEL = 300

_USES: Mapping[ComponentKind, tuple[str, ...]] = {
    ComponentKind.MODEL: (),
    ComponentKind.LIBRARY: ("inference",),
    ComponentKind.DATASET: ("training",),
    # Who tunes a model also runs what comes of it.
    ComponentKind.BASE_MODEL: ("fine-tuning", "inference"),
}


class LicenceVerifier:
    """Lists the licences of the model, its base models, data and libraries.

    Facts: ``{licences: [{kind, uses, expression, choices, unknown, components}]}``, sorted.

    - ``kind``: ``model``, ``base-model``, ``dataset`` or ``library``.
    - ``uses``: what it is used for: ``inference``, ``training``, ``fine-tuning``. A base model
      is taken for fine-tuned unless the SBOM says otherwise (``mlflow-governance:use``).
    - ``expression``: normalised SPDX, empty when some term is on no SPDX list.
    - ``choices``: lists of terms; whoever complies with all of one list may use the component.
      Empty when the SBOM says nothing.
    - ``unknown``: those terms in ``choices`` that are names and no SPDX identifiers.
    - ``components``: whom it is about, by purl or ``name@version``.
    """

    kind = Kind.LICENCES

    def verify(self, case: Case) -> Mapping[str, Any]:
        """The licences the signed SBOM states.

        Raises:
            EvidenceMissing: no SBOM is attached.
            VerificationError: it does not verify, or a licence is beyond the bounds.
        """
        found: dict[tuple[str, tuple[str, ...], Licence], set[str]] = {}
        for component in signed_bom(case).inventory:
            key = (component.kind.value, _uses(component), _licence(component))
            found.setdefault(key, set()).add(component.label[:_MAX_LABEL])
            if len(found) > MAX_LICENCES:
                raise VerificationError(
                    f"the SBOM states more than {MAX_LICENCES} different licences"
                )
        if sum(len(choice) for _, _, said in found for choice in said.choices) > MAX_TERMS:
            raise VerificationError(f"the SBOM's licences have more than {MAX_TERMS} terms")
        entries = (_entry(*key, labels) for key, labels in found.items())
        return {"licences": sorted(entries, key=lambda e: (e["kind"], e["choices"], e["uses"]))}


def _uses(component: Component) -> tuple[str, ...]:
    if component.kind is ComponentKind.BASE_MODEL and component.use == "inference":
        return ("inference",)
    return _USES[component.kind]


def _licence(component: Component) -> Licence:
    try:
        return licence_expression.all_of(
            licence_expression.parse(said.text, said.is_expression) for said in component.licences
        )
    except VerificationError as error:
        raise VerificationError(f"{component.label[:_MAX_LABEL]}: {error.message}") from error


def _entry(kind: str, uses: tuple[str, ...], licence: Licence, labels: set[str]) -> dict[str, Any]:
    return {
        "kind": kind,
        "uses": list(uses),
        "expression": licence.expression,
        "choices": [list(choice) for choice in licence.choices],
        "unknown": list(licence.unknown),
        "components": sorted(labels),
    }
