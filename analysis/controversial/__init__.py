"""Signals that match different stimuli in two networks, so that people can decide between the networks."""
