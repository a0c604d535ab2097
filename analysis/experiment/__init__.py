"""What do people recognise? Experiments made from a study, and their data brought back into it."""
