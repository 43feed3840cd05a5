"""The periodic pipeline: steps, lock, gates, reports."""
