"""Names, hooks, domains, layers and results: everything that plugins, analysis and training share.

It contains no algorithms. Names are imported when first used, so that importing this package is cheap.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
