"""Data collection as in ExoRL and MaskDP: agents that learn online, their replay, and near-expert episodes."""
