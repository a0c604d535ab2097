"""Names, hooks, domains, layers and results: everything that plugins, analyses and trainings share.

It knows no algorithm. Names are imported when first used, so that importing this package costs nothing.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
