"""Drawings of the Datasets by matplotlib, which is imported when something is drawn.

Each function draws on the axes that it is given, or on those of a new figure, and returns them; a gallery is a figure.
"""

from .layers import by_layer
from .matrix import heat_map
from .nulls import against_null
from .signals import gallery

__all__ = ["against_null", "by_layer", "gallery", "heat_map"]
