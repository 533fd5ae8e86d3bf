"""From training data to a baseline; never packed into an archive."""
