"""Training of networks, robust and anti-aliased ones among them: recipes, the loop, checkpoints, and the folders of runs.

Attacks are optimisations over signals, like synthesis, and live in `metamery.analysis.attacks`; a training gets them
by name, as the perturbations of its recipe.
"""
