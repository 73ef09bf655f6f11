"""Text games: one observation of words and one command of words a step."""
