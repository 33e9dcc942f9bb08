"""A training pipeline of four steps whose every hand signs: in-toto layout and links."""
