"""Snapshots as people read them."""
