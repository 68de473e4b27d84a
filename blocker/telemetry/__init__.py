"""Reports what happened; decides nothing. Knows no engine: values are handed in."""
