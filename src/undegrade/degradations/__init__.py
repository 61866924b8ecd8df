"""What spoils a photograph: pure functions of a clean picture, a generator and a strength."""
