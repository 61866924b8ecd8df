"""The version, read by the build and by `undegrade --version`."""

__version__ = "0.1.0"
