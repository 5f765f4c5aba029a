"""Writing a file so that there is either the old or the new one, whatever happens.

What lives here: the one way in which state is kept on a disk. What does not: what is in it.
"""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, data: bytes) -> None:
    """Replace the file by ``data``, on disk when this returns.

    Raises:
        OSError: it could not be written; the old file stands, and nothing of the new one is left on a full disk.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.new")
    try:
        with fresh.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
