"""Simulation of the whole: users living with the service while the loop runs every night."""
