"""Rolling windows over production rows: exact tallies in panes, and one pool of rows for the samples of all windows."""
