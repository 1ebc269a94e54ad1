"""Benchmarks: what our parts cost, beside others of their kind, in one and the same run."""
