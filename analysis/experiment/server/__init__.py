"""The server of an experiment: sessions, lists and answers, kept in SQLite."""
