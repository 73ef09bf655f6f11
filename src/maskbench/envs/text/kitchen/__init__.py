"""A cooking game in pure Python, in TextWorld's own sentences."""
