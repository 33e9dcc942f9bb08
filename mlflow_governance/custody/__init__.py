"""The installation's own keys: where they are, who may read them, and which of them signs now."""
