"""Experiments with users: who gets what, what came of it, and stopping harm."""
