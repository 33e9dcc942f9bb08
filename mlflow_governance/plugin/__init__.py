"""PLUG IN: all that knows MLflow. Its private names appear in ``compat.py`` only."""
