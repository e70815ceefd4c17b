"""The interactive viewer of a report: what it shows, packed small enough to travel inside the page."""
