"""The plugin `example` for metamery."""
