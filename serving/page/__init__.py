"""The operator's page, served at `/`: what the loop does, why, and the levers."""
