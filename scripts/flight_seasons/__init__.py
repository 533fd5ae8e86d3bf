"""Do learned minimum effects distinguish seasons from drift? Half of 2013 is known; see docs/seasons.md."""
