"""What the subscriptions of a broadcast queue want, checked, and compiled for the scripts."""
