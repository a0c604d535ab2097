"""Studies kept and read: making one and going on with it, what was lost or changed since, evaluation, export."""
