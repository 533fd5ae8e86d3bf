"""Builds a baseline from training data. This folder is never packed into an archive."""
