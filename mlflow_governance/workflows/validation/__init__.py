"""VALIDATE: does everything the registry keeps say what its ledger says? Nothing is changed.

``books`` is what is read, ``findings`` what can be found; ``versions``, ``pointers``,
``documents`` and ``files`` look, and ``run`` puts one validation together.
"""
