"""Metrics: their table, and how they are written as text or collected by prometheus_client."""
