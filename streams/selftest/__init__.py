"""The command ``selftest``: a campaign of our own goes in, and its alert and signals must come out."""
