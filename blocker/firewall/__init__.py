"""Applies bans to the kernel; never decides who is banned or for how long."""
