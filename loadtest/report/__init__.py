"""The report of a run: one page that needs nothing else, and the same figures as JSON."""
