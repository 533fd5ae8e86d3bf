"""The metrics, the page and the JSON API, on one port of a host."""
