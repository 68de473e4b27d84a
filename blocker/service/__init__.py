"""Assembles and runs the process; knows every room but those that call it."""
