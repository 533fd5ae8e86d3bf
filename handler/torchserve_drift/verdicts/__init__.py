"""From evidence to verdicts to a report."""
