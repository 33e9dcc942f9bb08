"""Examples that run; the tests run them, too."""
