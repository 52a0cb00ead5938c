"""What a watch tells other systems: lines, metrics, messages; nobody who listens can hold it up."""

from tcpsight.output.feeds.feed import Feed
from tcpsight.output.feeds.opening import Feeds, open_feed, open_feeds
from tcpsight.output.feeds.update import FeedCounts, Update

__all__ = ["Feed", "FeedCounts", "Feeds", "Update", "open_feed", "open_feeds"]
