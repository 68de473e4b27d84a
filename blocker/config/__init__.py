"""Text in, one frozen tree out; what is unknown is refused."""
