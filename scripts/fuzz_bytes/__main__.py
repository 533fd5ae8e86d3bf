"""`python -m fuzz_bytes TARGET SECONDS`: stops at the first input that breaks the promise of the target."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["torchserve_drift", "json"]):
    from fuzz_bytes.targets import TARGETS


def main(name: str, seconds: str) -> None:
    """Fuzz one target. The corpus begins with the target's seeds, and is deleted at the end."""
    seeds, check = TARGETS[name]()
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(seeds):
            Path(folder, str(number)).write_bytes(seed)
        options = [f"-max_total_time={seconds}", "-rss_limit_mb=2048", "-timeout=10", "-max_len=20000", "-verbosity=1"]
        atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={tempfile.gettempdir()}/fuzz-{name}-", folder], check)
        atheris.Fuzz()


main(*sys.argv[1:3])
