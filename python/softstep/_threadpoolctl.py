"""threadpoolctl's hold on softstep's threads.

With it ``threadpoolctl.threadpool_limits(1)`` limits softstep as it limits BLAS. threadpoolctl
learns of a library from a controller class, registered before the limit is set. Importing it for
that would make ``import softstep`` slower for everybody, so `follow_imports` registers only if
somebody else has imported it, or when somebody does so later.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from softstep._version import __version__

if TYPE_CHECKING:  # importlib.abc would take longer to import than the rest of the package
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_NAME = "threadpoolctl"


def register(threadpoolctl: Any) -> None:
    """Register the controller of softstep's threads with the module `threadpoolctl`."""
    if not hasattr(threadpoolctl, "register"):  # before version 3.2
        return

    class SoftstepController(threadpoolctl.LibController):  # type: ignore[misc]
        user_api = "softstep"
        internal_api = "softstep"
        filename_prefixes = ("_core",)
        check_symbols = ("softstep_get_num_threads", "softstep_set_num_threads")

        def get_num_threads(self) -> int:
            return int(self.dynlib.softstep_get_num_threads())

        def set_num_threads(self, num_threads: int) -> None:
            self.dynlib.softstep_set_num_threads(num_threads)

        # Called for every library named _core*, before the symbols are checked.
        def get_version(self) -> str:
            return __version__

    threadpoolctl.register(SoftstepController)


class _WhenImported:
    """Finds threadpoolctl as the other finders do, and registers once it has run."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _NAME:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        specs = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((found for found in specs if found is not None), None)
        if spec is None or spec.loader is None:
            return spec
        run = spec.loader.exec_module

        def run_and_register(module: ModuleType) -> None:
            run(module)
            sys.meta_path.remove(self)
            register(module)

        spec.loader.exec_module = run_and_register  # type: ignore[method-assign]
        return spec


def follow_imports() -> None:
    """Register now if threadpoolctl has been imported, or else when it will be."""
    if _NAME in sys.modules:
        register(sys.modules[_NAME])
    else:
        sys.meta_path.insert(0, _WhenImported())
