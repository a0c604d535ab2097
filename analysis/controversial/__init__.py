"""Signals that two networks take for different stimuli, so that people can decide between the networks."""
