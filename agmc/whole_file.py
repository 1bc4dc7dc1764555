"""Files as a whole: written all at once or not at all, and named by what they hold."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def write_whole(
    path: str | os.PathLike[str], content: str | bytes | memoryview
) -> None:
    """Writes beside the file, waits for the disk and then takes its place.

    Whatever interrupts it, the file holds the old content or the new one, and nothing
    lies beside it. Processes that write the same file do not get into each other's way.

    Args:
        path: of the file; its folder exists.
        content: text is written as UTF-8.

    Raises:
        OSError: the file cannot be written.
    """
    path = Path(path)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def digest_of(path: str | os.PathLike[str]) -> str:
    """Hex digits that name the content of a file.

    Raises:
        OSError: the file cannot be read.
    """
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
