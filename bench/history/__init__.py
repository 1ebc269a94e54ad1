"""What it costs to keep exchanges and to give them back."""
