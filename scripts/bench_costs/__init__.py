"""What monitoring costs, measured: `python -m bench_costs`."""
