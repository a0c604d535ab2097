"""What changes nothing for a network? Changes of signals by strength, and how far each layer follows them."""
