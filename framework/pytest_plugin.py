"""Fixtures for the tests of plugins; pytest finds them once metamery is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .manager import Plugins
    from .models import Model


@pytest.fixture
def plugins() -> Plugins:
    """The bundled and the installed plugins, loaded afresh."""
    from .manager import Plugins

    return Plugins()


@pytest.fixture
def example_model() -> Model:
    """A small network to try a loss, a perturbation or an evaluator on."""
    from . import testing

    return testing.example_model()
