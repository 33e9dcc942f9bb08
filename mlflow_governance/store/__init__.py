"""KEEP: our own tables, in MLflow's database and in its transaction."""
