"""Files and tables of production rows against a baseline; never packed into an archive."""
