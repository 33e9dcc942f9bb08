"""How bad a vulnerability is: CVSS vectors and the words advisories use, made comparable."""

from __future__ import annotations

from dataclasses import dataclass

WORDS = ("unknown", "none", "low", "medium", "high", "critical")
"""Ascending. ``unknown`` never wins over a word somebody stated."""

_SYNONYMS = {"moderate": "medium", "info": "low", "informational": "low", "important": "high"}
_MAX_VECTOR = 512

# CVSS v3.1 and v4.0, qualitative severity rating scale; v2 scores are read on it as well.
_SCALE = ((9.0, "critical"), (7.0, "high"), (4.0, "medium"), (0.1, "low"))


@dataclass(frozen=True, slots=True)
class Severity:
    """A word of :data:`WORDS` and, where one is known, the CVSS base score (0.0 to 10.0)."""

    word: str = "unknown"
    score: float | None = None

    def worst(self, other: Severity) -> Severity:
        """The graver word and the higher score of both."""
        scores = [s for s in (self.score, other.score) if s is not None]
        return Severity(
            max(self.word, other.word, key=WORDS.index), max(scores) if scores else None
        )


UNKNOWN = Severity()


def of_word(text: object) -> Severity:
    """The severity somebody stated in a word; unknown for words nobody knows."""
    word = text.strip().lower() if isinstance(text, str) else ""
    word = _SYNONYMS.get(word, word)
    return Severity(word) if word in WORDS else UNKNOWN


def of_score(score: object) -> Severity:
    """The severity of a CVSS base score; unknown when it is none."""
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 10:
        return UNKNOWN
    word = next((name for least, name in _SCALE if score >= least), "none")
    return Severity(word, float(score))


def of_vector(vector: object) -> Severity:
    """The severity of a CVSS v2, v3 or v4 vector; unknown when it is malformed."""
    from cvss import CVSS2, CVSS3, CVSS4
    from cvss.exceptions import CVSSError

    if not isinstance(vector, str) or len(vector) > _MAX_VECTOR:
        return UNKNOWN
    kinds = {"CVSS:4": CVSS4, "CVSS:3": CVSS3}
    try:
        return of_score(float(kinds.get(vector[:6], CVSS2)(vector).base_score))
    except CVSSError:
        return UNKNOWN
