"""Streams on a GPU (or on any device that torch has): what is planned, copied and convolved there."""
