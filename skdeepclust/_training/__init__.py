"""Runs of a method: their phases, their checkpoints, the choice of the best."""
