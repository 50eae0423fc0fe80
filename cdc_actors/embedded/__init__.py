"""Servers for the demo and the tests, started and stopped here."""
