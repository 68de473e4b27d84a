"""Hits in, bans out. Time is an argument."""
