"""What the port shows: snapshots of every model, as Prometheus metrics, JSON and a page."""
