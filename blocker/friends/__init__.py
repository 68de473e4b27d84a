"""Answers which addresses are never banned, and why."""
