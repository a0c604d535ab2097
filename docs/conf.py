"""Settings of the site, which `make docs` builds with Sphinx.

Its source is the entire repository, so that links are the same on the site and in the repository: the README is
the home page, notebooks stay in examples/, and a link to a source file downloads that file.
"""

from __future__ import annotations

import shutil
from importlib import metadata
from pathlib import Path

from metamery import analysis, framework, training
from sphinx.application import Sphinx

project = "metamery"
author = copyright = "The metamery authors"
release = metadata.version("metamery")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "README"
include_patterns = ["README.md", "docs/*.md", "examples/*.ipynb"]
exclude_patterns = [".*", "build", "site", "studies", "runs", "demo", "tests"]

myst_heading_anchors = 3
nb_execution_mode = "off"

autodoc_typehints_format = "short"
default_role = "py:obj"
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True

pygments_dark_style = "github-dark"

html_theme = "furo"
html_title = f"metamery {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_domain_indices = False

NAVIGATION = """
```{toctree}
:hidden:
:caption: Using

docs/guide
docs/your-network
docs/networks
docs/from-model-metamers-pytorch
docs/objectives
docs/invariance
docs/card
docs/experiments
docs/cluster
docs/imagenet
examples/invariance
docs/commands
examples/tour
examples/chain
examples/results
docs/schema
```

```{toctree}
:hidden:
:caption: Extending

docs/architecture
docs/plugins
docs/hooks
docs/api
```

```{toctree}
:hidden:
:caption: Measurements

docs/benchmarks
docs/efficientnet-lite0
docs/digits
docs/robustness
docs/replication
```
"""

for package in (framework, analysis, training):  # public names are lazy; autodoc needs them imported
    for name in package.__all__:
        setattr(package, name, getattr(package, name))


def setup(app: Sphinx) -> None:
    """Connect the functions below; called by Sphinx."""
    app.connect("source-read", add_navigation)
    app.connect("build-finished", add_index)


def add_navigation(_app: Sphinx, page: str, source: list[str]) -> None:
    """Add the site's menu to the README, which has its own list of pages."""
    if page == root_doc:
        source[0] += NAVIGATION


def add_index(app: Sphinx, error: Exception | None) -> None:
    """Copy the home page to index.html, the name that browsers and servers expect."""
    if error is None:
        shutil.copyfile(Path(app.outdir) / f"{root_doc}.html", Path(app.outdir) / "index.html")
