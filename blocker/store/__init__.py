"""One transaction per batch."""
