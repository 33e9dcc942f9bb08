"""Figures beside stock MLflow and the physical limits of this machine, in one run."""
