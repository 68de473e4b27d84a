"""Shared fixtures: throw-away network namespaces, and the reason when there can be none."""
