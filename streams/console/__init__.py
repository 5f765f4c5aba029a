"""The web console: alerts, cases, accounts, rules and health for people, and what they do about them.

What lives here: pages, forms, sign-in, the audit log. What does not: what a case is (``models.cases``), keeping it in
step with its feeds (``streams.desk``).
"""
