"""The contract with consumers of events: event formats and a receiver to start from."""
