"""Entry points: every command of `reprise`."""
