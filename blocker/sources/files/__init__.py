"""Follows files: patterns, rotations, truncation, compression."""
