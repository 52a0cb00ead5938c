"""Takes Requests and Connections, gives Intervals, Fit and Findings."""
