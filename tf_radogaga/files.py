"""Files that outlive the process that writes them: locks, and disks that are full or read-only."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import tensorflow as tf

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Holds the file `lock` in a folder; the system frees it when the process ends, however it ends.

    Raises:
        BlockingIOError: another process holds it.
        FileNotFoundError: the folder is not there.
    """
    path = folder / "lock"
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _is_at(path, handle):  # removed, and perhaps made again, since it was opened
            raise BlockingIOError(errno.EWOULDBLOCK, f"{path} is of another process")
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _is_at(path: Path, handle: IO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle.fileno()))
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def room_named(argument: str, folder: Path, subject: str, needed: int) -> Iterator[None]:
    """Tells of a full disk in words.

    Args:
        argument: that gave the folder.
        folder: what is written to; it need not exist.
        subject: what is written.
        needed: bytes of its weights.

    Raises:
        OSError: there is no room.
    """
    free = shutil.disk_usage(next(path for path in (folder, *folder.absolute().parents) if path.exists())).free
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        number = full(error)
        if number is None:
            raise
        raise OSError(
            number,
            f"{argument}: {folder} has no room for {subject}; {free / 1e6:.3f} MB were free, and it needs more, its"
            f" weights alone {needed / 1e6:.3f} MB. Free some space or choose another folder; what was there before is"
            f" untouched ({error}).",
        ) from error


def full(error: BaseException) -> int | None:
    """The errno of a full disk, where an error of Python or TensorFlow tells of one."""
    return next((number for number in _FULL if os.strerror(number) in str(error)), None)


def weight_bytes(model: tf.Module) -> int:
    """Of all variables of a model."""
    return sum(variable.shape.num_elements() * variable.dtype.size for variable in model.variables)
