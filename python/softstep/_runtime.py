"""What runs where: the ISA level, the threads, the build."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

import softstep._core as _core
from softstep._integers import integer
from softstep._version import __version__


def active_isa() -> str:
    """Name of the ISA level whose kernels run, e.g. ``"x86_64_v3"``.

    It is the highest that the CPU supports; the environment variable SOFTSTEP_ISA can lower it.

    Examples
    --------
    >>> import softstep as ss
    >>> ss.active_isa() in ss.available_isas()
    True
    """
    return _core.active_isa()


def available_isas() -> list[str]:
    """Names of the ISA levels that this CPU can run, lowest first.

    Examples
    --------
    >>> import softstep as ss
    >>> ss.available_isas()[-1] >= ss.active_isa()
    True
    """
    return _core.available_isas()


def set_num_threads(n: int | None) -> None:
    """Set the number of threads of every later call in this process.

    Parameters
    ----------
    n : int or None
        At least 1; None: automatic again, from SOFTSTEP_NUM_THREADS or OMP_NUM_THREADS, the CPU
        affinity and the container's CPU quota. Results have the same bits for every number.

    Raises
    ------
    TypeError, ValueError
        For what is no integer, and for numbers below 1 or above 256.

    Examples
    --------
    >>> import softstep as ss
    >>> ss.set_num_threads(1)
    >>> ss.get_num_threads()
    1
    >>> ss.set_num_threads(None)
    """
    if n is None:
        _core.set_num_threads(0)
        return
    number = integer(n, "n")
    if number < 1:
        raise ValueError(f"n: expected a number of threads of at least 1 or None, got {number}")
    _core.set_num_threads(min(number, 2**31 - 1))


def get_num_threads() -> int:
    """Return the number of threads that a large call would use now.

    Examples
    --------
    >>> import softstep as ss
    >>> ss.get_num_threads() >= 1
    True
    """
    return _core.get_num_threads()


@contextmanager
def threads(n: int | None) -> Iterator[None]:
    """Use n threads inside a ``with`` block, for the whole process.

    Examples
    --------
    >>> import softstep as ss
    >>> with ss.threads(1):
    ...     ss.get_num_threads()
    1
    """
    before = _core.thread_limit()
    set_num_threads(n)
    try:
        yield
    finally:
        _core.set_num_threads(before)


@dataclass(frozen=True)
class Config:
    """What `show_config` returns; ``str()`` gives it as lines of text."""

    version: str
    isa: str
    available_isas: list[str]
    threads: int
    threads_source: str
    parallel_backend: str
    compiler: str
    python: str
    numpy: str

    def __str__(self) -> str:
        return "\n".join(
            [
                f"softstep          {self.version}",
                f"ISA level         {self.isa} (available: {', '.join(self.available_isas)})",
                f"threads           {self.threads} (from {self.threads_source})",
                f"parallel backend  {self.parallel_backend}",
                f"compiler          {self.compiler}",
                f"Python            {self.python}",
                f"NumPy             {self.numpy}",
            ]
        )


def show_config() -> Config:
    """Version, ISA levels, threads and where their number comes from, and the build.

    Examples
    --------
    >>> import softstep as ss
    >>> ss.show_config().isa == ss.active_isa()
    True
    """
    return Config(
        version=__version__,
        isa=active_isa(),
        available_isas=available_isas(),
        threads=get_num_threads(),
        threads_source=_core.num_threads_source(),
        parallel_backend=_core.parallel_backend(),
        compiler=_core.compiler(),
        python=platform.python_version(),
        numpy=np.__version__,
    )
