"""Off-policy evaluation: what another policy would have earned on logged turns."""
