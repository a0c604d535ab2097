"""Training of networks: the loop, its data and schedules, checkpoints, the folders of runs, and the command ``train``.

Attacks are optimisations over signals, like synthesis, and live in `metamery.analysis.attacks`; a training gets them
by name, as the perturbations of its recipe.
"""
