"""Fine-tuning: backbones, heads, learning rates, freezing, features, checkpoints, results."""
