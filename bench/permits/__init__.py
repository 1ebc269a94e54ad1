"""What our permits cost: `python -m bench.permits`. A module for each measurement, and the semaphores it compares."""
