"""The pure core of distilwatch: no IO, clock, environment or randomness of its own."""
