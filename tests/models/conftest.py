"""How Hypothesis searches here: enough to find what is there to find, and never judged by the clock."""

from hypothesis import settings

settings.register_profile("distilwatch", deadline=None, max_examples=50, print_blob=True)
settings.load_profile("distilwatch")
