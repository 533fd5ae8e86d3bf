"""Rolling windows over production rows: exact tallies in panes, one pool of whole rows for every window's sample."""
