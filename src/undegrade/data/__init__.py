"""Folders of pictures, pairs, crops, loaders, and the official layouts of the benchmarks."""
