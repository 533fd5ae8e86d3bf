"""Shows whether learned minimum effects distinguish seasons from drift; see docs/seasons.md."""
