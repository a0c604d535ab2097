"""Is it a metamer? Distances and measures of a match, the null distribution of unrelated signals, and success."""
