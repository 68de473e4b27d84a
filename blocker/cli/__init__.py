"""Data on stdout, messages on stderr. A command's module is loaded when it is chosen."""
