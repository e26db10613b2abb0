"""The benchmark harness behind ``softstep bench``.

``cases`` says what is timed, ``families`` how each contender computes it, ``measure`` times it,
``record`` puts it together; ``report`` and ``plot`` show it. benchmarks/README.md says how to read
the numbers.
"""
