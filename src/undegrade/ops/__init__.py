"""Pure tensor functions: colour, resizing, padding, windows, Bayer patterns, JPEG."""
