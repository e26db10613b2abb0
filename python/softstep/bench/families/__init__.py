"""One module for each family of cases.

A family is a function ``build(**options) -> Problem``, which makes the arrays and the float64
reference, and ``CONTENDERS``: for the name of each peer a generator of its contenders.
"""
