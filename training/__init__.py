"""Training of robust and anti-aliased networks."""
