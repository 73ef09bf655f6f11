"""VIMA-Bench's tabletop without its simulator."""
