"""Hydra plugin: the sweeper behind ``sweep=optuna``."""
