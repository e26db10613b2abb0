"""Rows with infinities, NaN and the largest numbers."""

INF, NAN = float("inf"), float("nan")

# name: (what fills the row, what stands at the position); None keeps ordinary values.
SPECIAL_ROWS: dict[str, tuple[float | None, float]] = {
    "all -inf": (-INF, -INF),
    "all but one -inf": (-INF, 0.5),
    "one -inf": (None, -INF),
    "one +inf": (None, INF),
    "all +inf": (INF, INF),
    "one NaN": (None, NAN),
    "all NaN": (NAN, NAN),
    "NaN among -inf": (-INF, NAN),
    "NaN among +inf": (INF, NAN),
    "+inf among -inf": (-INF, INF),
    "one huge": (None, 3e38),
    "one very negative": (None, -3e38),
    "huge among very negative": (-3e38, 3e38),
    "all huge": (3e38, 3e38),
    "all very negative": (-3e38, -3e38),
    "all denormal": (1e-40, 2e-40),
}
