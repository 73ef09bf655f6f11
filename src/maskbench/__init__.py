"""maskbench: one workbench for transformer models of trajectories.

Compose an environment, a masking scheme and a model; train; ask the trained model questions by mask; roll it out.
Importing this package imports neither torch nor any simulator.
"""

__version__ = "0.1.0"
