"""Metamer synthesis and what is measured of metamers. Algorithms take objects; names are the plugins' business.

Names are imported when first used. `metamery.analysis.plot` draws the Datasets, `metamery.analysis.statistics` has
intervals and tests.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
