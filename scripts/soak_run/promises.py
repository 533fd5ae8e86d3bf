"""What was measured, what is promised, and whether the promise is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from rich.table import Table


@dataclass(frozen=True)
class Measured:
    """One line of the report. ``most`` is the promised maximum; ``None`` if nothing is promised."""

    what: str
    value: float
    most: Optional[float] = None
    unit: str = ""

    @property
    def kept(self) -> bool:
        return self.most is None or self.value <= self.most


def table(title: str, lines: Sequence[Measured]) -> Table:
    """The report as a table."""
    shown = Table(title=title, title_justify="left")
    for heading in ("", "measured", "promised", ""):
        shown.add_column(heading, justify="left" if heading == "" else "right")
    for line in lines:
        promise = "" if line.most is None else f"<= {line.most:g} {line.unit}".rstrip()
        mark = "" if line.most is None else ("kept" if line.kept else "[bold red]BROKEN")
        shown.add_row(
            line.what,
            f"{line.value:,.4g} {line.unit}".rstrip() if line.value < 1e4 else f"{line.value:,.0f}",
            promise,
            mark,
        )
    return shown
