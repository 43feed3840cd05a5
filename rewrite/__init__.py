"""Propose, rescore and decide rewrites of failing requests."""
