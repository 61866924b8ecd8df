"""Weights: cards, files, strict loading, conversion of official checkpoints."""
