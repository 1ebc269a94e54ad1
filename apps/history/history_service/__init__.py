"""The history service: stores finished exchanges, and serves sessions, messages and media."""
