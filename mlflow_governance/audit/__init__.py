"""What leaves the house for an auditor: evidence bundles, their reports, and what verifies them."""
