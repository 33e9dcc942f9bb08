"""PROVE: verifiers that turn bytes into facts or into a reason why not."""
