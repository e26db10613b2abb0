"""Small faults in the C++, to see which of them the tests find: see `__main__.py`."""
