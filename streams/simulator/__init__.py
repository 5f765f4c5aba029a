"""A simulated API fleet: honest customers, their look-alikes, and campaigns hidden among them.

What lives here: traffic and its truth, deterministic in a seed. What does not: anything that judges traffic; the
truth of who belongs to a campaign never travels in the events.
"""
