"""Snapshots as Prometheus reads them."""
