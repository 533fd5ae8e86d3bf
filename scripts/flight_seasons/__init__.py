"""Do learned limits tell seasons from drift? Flights of 2013, half of them known, and of 2023; see docs/seasons.md."""
