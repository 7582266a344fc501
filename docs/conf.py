"""The site: scripts/docs builds it. Pages are Markdown; the keys come from conf/, the API from the docstrings."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for `keys`, beside this file

from keys import reference

import hardmine

project = "hardmine"
author = "the hardmine developers"
version = release = hardmine.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3
default_role = "code"  # names in docstrings stand in single backticks
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False  # of Lightning
autodoc_typehints = "signature"
python_maximum_signature_line_length = 100
html_theme = "furo"  # light and dark, a phone's width, nothing from other hosts
html_title = f"hardmine {version}"
html_show_copyright = False


def setup(app: object) -> None:
    """Put the keys of the configs into their page while it is read, so that no copy of them is kept."""

    def fill(app: object, page: str, source: list[str]) -> None:
        if page == "reference/config":
            source[0] += reference()

    app.connect("source-read", fill)  # type: ignore[attr-defined]
