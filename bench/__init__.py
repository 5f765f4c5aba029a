"""Measurements of distilwatch beside its peers; each module runs alone as `python -m bench.<name>`."""
