"""The plugins that come with metamery. Each folder is a plugin like any other; its `__init__` contains hooks only."""
