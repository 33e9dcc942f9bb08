"""Files signed by each release, kept so that every later one still verifies them.

A set is a folder named after its release: ``trust.yaml``, the manifest of a small model, and
``expected.json``, which lists cases: the items attached, how they are verified, and the facts
that were proved. ``python -m tests.golden`` makes the set of the release in pyproject.toml.
"""
