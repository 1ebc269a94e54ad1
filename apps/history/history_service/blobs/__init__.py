"""Where voice, video and pictures are kept: one port, and an adapter for each kind of store."""
