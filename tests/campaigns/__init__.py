"""Programs that try for minutes or hours to break a promise: see docs/reliability.md.

pytest collects nothing here; each program is a session of nox.
"""
