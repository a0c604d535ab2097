"""Fixtures for the tests of plugins; pytest finds them once metamery is installed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .context import Context
    from .manager import Plugins
    from .models import Model


@pytest.fixture
def plugins() -> Plugins:
    """The bundled and the installed plugins, newly loaded."""
    from .manager import Plugins

    return Plugins()


@pytest.fixture
def example_model() -> Model:
    """A small network to test a loss, a perturbation or an evaluator with."""
    from . import testing

    return testing.example_model()


@pytest.fixture
def example_study(tmp_path: Path, example_model: Model) -> Path:
    """The folder of a small study with known results (see `testing.example_study`)."""
    from . import testing

    return testing.example_study(tmp_path / "example-study", example_model)


@pytest.fixture
def example_context(example_study: Path, example_model: Model) -> Context:
    """The context of an evaluator of that study."""
    from . import testing

    return testing.example_context(example_study, example_model)
