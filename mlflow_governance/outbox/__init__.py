"""TELL: what the registry recorded leaves as signed events, at least once each."""
