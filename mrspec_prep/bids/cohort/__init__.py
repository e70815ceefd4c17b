"""Who is in a group: finished participants of one or several datasets."""
