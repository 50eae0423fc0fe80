"""Pulsar."""
