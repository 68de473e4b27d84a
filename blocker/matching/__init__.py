"""Bytes in, hits out. Every cache has a ceiling."""
