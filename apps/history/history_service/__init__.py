"""The history service: takes in finished exchanges, and gives sessions, messages and media back."""
