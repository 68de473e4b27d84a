"""Judge, kernel, commit, in this order. Is handed everything that it needs."""
