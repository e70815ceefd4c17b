"""Parameter maps in a report: collected, drawn, put in words."""
