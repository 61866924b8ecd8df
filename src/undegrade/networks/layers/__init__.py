"""Blocks that two or more networks really share."""
