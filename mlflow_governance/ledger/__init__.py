"""REMEMBER: the tamper-evident ledger, as pure functions over entries and hashes."""
