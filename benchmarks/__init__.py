"""Speed of maskbench as ratios to plain per-item code doing the same work in the same run."""
