"""What Prometheus, people and other programs see: metrics, a page and JSON, on one port of a host."""
