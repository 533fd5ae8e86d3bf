"""What is shown to Prometheus and people, on one port of a host."""
