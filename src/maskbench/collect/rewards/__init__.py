"""Intrinsic rewards of the explorers: one file each."""
