"""Text games as trajectories: rollouts, hindsight labels and the formats in which a language model reads them."""
