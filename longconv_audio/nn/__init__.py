"""Trainable long convolutions: layers, blocks, models and their training. Sequences are `(batch, channels, time)`."""
