"""DECIDE: the policy engines and the bundle they evaluate."""
