"""A swarm of clients that proves the limits, and a picture of it. docs/load-testing.md says how to run and read it."""
