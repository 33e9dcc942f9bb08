"""WHAT: the values and rules of the domain.

Nothing here does input or output, and nothing imports a framework: the standard library and
``rfc8785`` (one pure function) are all it needs.
"""
