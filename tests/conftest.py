"""The source tree and the tests' own modules can be imported, installed or not."""

from __future__ import annotations

import sys
from pathlib import Path

_TESTS = Path(__file__).parent
for folder in (_TESTS, _TESTS.parent / "handler"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
