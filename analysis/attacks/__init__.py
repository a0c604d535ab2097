"""Which small changes fool a network? Attacks within a norm ball, and accuracy under them."""
