"""Other tools on the same work: their rules on long streams, their own code on single windows and rows."""
