"""Detection quality on simulated fleets: what is found, when, who is wrongly named; beside four simpler detectors."""
