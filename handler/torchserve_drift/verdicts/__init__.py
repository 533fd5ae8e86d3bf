"""From the evidence of checks to verdicts, and from verdicts to a report."""
