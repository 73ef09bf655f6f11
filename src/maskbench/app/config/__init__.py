"""Configuration: typed schemas, composition, checks and instantiation. Nothing here imports torch."""
