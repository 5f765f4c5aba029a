"""Detection quality on simulated fleets: what is found, when, and who is wrongly named, beside four simpler detectors."""
