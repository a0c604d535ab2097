"""What comes with metamery. Each folder is a plugin like anybody's; its `__init__` holds hooks only."""
