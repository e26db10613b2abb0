"""The documentation site: `sphinx-build -W docs build/site`.

The pages are those that a reader of the repository sees; what a site needs besides is in `_ext`.
"""

import importlib.util
import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS / "_ext"))

import softstep  # noqa: E402

project = "softstep"
author = "The softstep maintainers"
copyright = author
version = release = softstep.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "repository_links",
    "speed_picture",
    "written_types",
]
exclude_patterns = ["README.md", "_ext", "_static", "_generated"]
templates_path = ["_templates"]
# sphinx-gallery puts the examples' sources beside their pages.
suppress_warnings = ["config.cache"]

myst_enable_extensions = ["dollarmath", "attrs_block", "colon_fence"]
myst_heading_anchors = 3

default_role = "py:obj"
highlight_language = "none"
autosummary_generate = True
autosummary_ignore_module_all = False
# communicator and Communicator would be one file where case does not count.
autosummary_filename_map = {
    "softstep.distributed.communicator": "softstep.distributed.communicator-function"
}
autodoc_typehints = "signature"
autodoc_type_aliases = {"FloatArray": "FloatArray"}  # of attributes; of arguments: written_types
numpydoc_show_class_members = False
toc_object_entries_show_parents = "hide"
python_maximum_signature_line_length = 88

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "download_all_examples": False,
    "show_signature": False,
    "remove_config_comments": True,
    "within_subsection_order": "example_order.place",
    "min_reported_time": 1e9,
    "show_memory": False,
    "write_computation_times": False,
}

# MathJax in one file without fonts, from a package: its CDN would leave raw TeX without a network.
MATHJAX = importlib.util.find_spec("sphinx-mathjax-offline")
if MATHJAX is None:
    raise ImportError("the formulas need MathJax: pip install sphinx-mathjax-offline")
mathjax_path = "tex-svg.js"

html_title = "softstep"
html_theme = "pydata_sphinx_theme"
html_static_path = [
    "_static",
    str(Path(MATHJAX.submodule_search_locations[0], "static/mathjax/tex-svg.js")),
]
html_css_files = ["site.css"]
html_context = {"default_mode": "auto"}
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "navbar_align": "left",
    "navbar_center": ["navbar-nav"],
    "navbar_end": ["theme-switcher"],
    "show_toc_level": 2,
    "show_nav_level": 1,
    "header_links_before_dropdown": 7,
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
