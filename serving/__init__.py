"""The HTTP service in front of an assistant's NLU, and its fail-open client."""
