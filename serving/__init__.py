"""Serve rewrites over HTTP."""
