"""A fail-closed governance layer for the MLflow model registry."""
