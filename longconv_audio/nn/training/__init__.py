"""Training, evaluating and running models: data, the loop, checkpoints."""
