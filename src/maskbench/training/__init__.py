"""Training: the loop, optimisers, checkpoints and loggers."""
