"""Measures what monitoring costs: `python -m bench_costs`."""
