"""Training of networks: the loop, its data and schedules, checkpoints, the folders of runs, and the command ``train``.

Attacks are optimisations over signals, like synthesis, and live in `metamery.analysis.attacks`; a training gets them
by name, as the perturbations of its recipe. Names are imported when first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
