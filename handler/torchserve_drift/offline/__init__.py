"""Production rows compared with a baseline without a server; never packed into an archive."""
