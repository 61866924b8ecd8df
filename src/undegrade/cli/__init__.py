"""The command line: one file per command, each found by its file name."""
