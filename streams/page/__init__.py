"""The live page: one local web page that shows a running detection to the person watching it.

What lives here: the state it shows, its server, its files. What does not: where the state comes from.
"""

from streams.page.server import LivePage
from streams.page.state import ClusterView, PageState, StoryLine

__all__ = ["ClusterView", "LivePage", "PageState", "StoryLine"]
