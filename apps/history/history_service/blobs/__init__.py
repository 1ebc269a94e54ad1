"""The media store: one port, and an adapter for each kind of store."""
