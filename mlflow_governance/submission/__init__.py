"""BRING: what a training job runs to sign, describe and register a model."""
