"""Tests of `bench`: the shape of what it says, never the numbers."""
