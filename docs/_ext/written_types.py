"""Signatures with the types as they are written: Sphinx shows what they mean, in many words."""

import inspect
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.inspect import stringify_signature


def written(
    app: Sphinx, what: str, name: str, found: Any, options: Any, signature: Any, returns: Any
) -> tuple[str, str] | None:
    """Return the text of the arguments and of the result."""
    if signature is None or not (inspect.isfunction(found) or inspect.isclass(found)):
        return None
    exact = inspect.signature(found)
    if inspect.isclass(found):
        exact = exact.replace(return_annotation=exact.empty)
    elif what == "method" and "self" in exact.parameters:
        exact = exact.replace(parameters=list(exact.parameters.values())[1:])
    arguments, _, result = stringify_signature(exact).partition(" -> ")
    return arguments, result


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("autodoc-process-signature", written)
    return {"parallel_read_safe": True}
