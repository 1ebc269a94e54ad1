"""What `bench/permits.py` is made of: the semaphores that it compares and the three ways in which it does."""
