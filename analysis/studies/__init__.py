"""What is kept on disk: making a study and going on with it, what was lost or changed since, evaluation, export."""
