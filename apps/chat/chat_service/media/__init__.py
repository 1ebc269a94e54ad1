"""Voice and video: decoding, speech and pictures, done in worker processes."""
