"""Files that outlive the process that writes them, all of which is written or nothing: `atomic_directory` takes the
place of an older directory, `new_version` gets a number beside older ones, `atomic_json` is a file."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from tf_radogaga._core.stack import tf

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_STAGING = ".export-"


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


@contextlib.contextmanager
def atomic_directory(directory: Path, what: str, *own: str, needed: int = 0) -> Iterator[Path]:
    """A folder to write to, locked, which becomes `directory` when all is written; until then, and after a kill, what
    was there before is what `complete` finds.

    Args:
        directory: replaced if it holds files of these names alone.
        what: it is, for messages.
        own: patterns of names.
        needed: bytes, at least, for the message of a full disk.

    Raises:
        FileExistsError: the directory holds something else.
        BlockingIOError: another process is writing there.
        OSError: the disk is full or cannot be written to.
    """
    directory = directory.absolute()
    found = sorted(directory.iterdir()) if directory.exists() else []
    if others := [path.name for path in found if not any(map(path.match, own))]:
        raise FileExistsError(f"{directory}: holds {others}, so it is not a {what}; choose another directory.")
    with room_named("directory", directory, f"the {what}", needed), staging(directory, what) as new:
        yield new
        if directory.exists():
            directory.rename(_replaced(directory))
        new.rename(directory)


def complete(directory: Path) -> Path:
    """The directory, or where it is after a kill between the two renames of `atomic_directory`."""
    directory = directory.absolute()
    return _replaced(directory) if not directory.exists() and _replaced(directory).exists() else directory


def staged(directory: Path) -> Path:
    return directory.with_name(f".{directory.name}.saving")


def _replaced(directory: Path) -> Path:
    """Where the older files are while the newer ones take their place."""
    return staged(directory) / "old"


@contextlib.contextmanager
def staging(directory: Path, what: str) -> Iterator[Path]:
    folder = staged(directory)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with lock(folder):
            _put_back(directory)
            shutil.rmtree(folder / "new", ignore_errors=True)
            (folder / "new").mkdir()
            try:
                yield folder / "new"
            finally:
                _put_back(directory)
                shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError as error:
        raise BlockingIOError(
            error.errno, f"directory: another process is writing a {what} to {directory}; choose another directory."
        ) from error
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise
        raise OSError(
            error.errno, f"directory: {directory.parent} cannot be written to ({error}); choose another directory."
        ) from error


def _put_back(directory: Path) -> None:
    old = _replaced(directory)
    if old.exists() and not directory.exists():
        old.rename(directory)
    shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def new_version(base_dir: Path, subject: str, needed: int) -> Iterator[Path]:
    """A path to write to, for `publish`, in a folder beside the versions that lives as long as this block; those of
    dead processes are removed first. Other arguments as `room_named`.

    Raises:
        OSError: there is no room.
    """
    with room_named("base_dir", base_dir, subject, needed), contextlib.ExitStack() as stack:
        base_dir.mkdir(parents=True, exist_ok=True)
        for left in base_dir.glob(f"{_STAGING}*"):
            with contextlib.suppress(OSError), lock(left):  # OSError: its process lives
                shutil.rmtree(left)
        while True:
            folder = Path(tempfile.mkdtemp(prefix=_STAGING, dir=base_dir))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            with contextlib.suppress(BlockingIOError, FileNotFoundError):  # removed by another before it was locked
                stack.enter_context(lock(folder))
                break
        yield folder / "new"


def require_free(version: Path) -> None:
    """FileExistsError where the version is there."""
    if version.exists():
        raise FileExistsError(f"version: {version} exists; leave version out for the next free one.")


def publish(written: Path, base_dir: Path, version: int | None) -> Path:
    """Forces what is written to the disk and gives it its number; nobody sees it before, and all of it after.

    Args:
        version: None: one more than the newest there.

    Raises:
        FileExistsError: the version exists.
    """
    for folder, _, files in os.walk(written):
        for path in (*(os.path.join(folder, file) for file in files), folder):
            sync(path)
    return _numbered(written, base_dir, version)


def sync(path: str | Path) -> None:
    """Forces a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _numbered(written: Path, base_dir: Path, version: int | None) -> Path:
    while True:
        newest = max((int(path.name) for path in base_dir.iterdir() if path.name.isdecimal()), default=0)
        target = base_dir / str(newest + 1 if version is None else version)
        try:
            written.rename(target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            if version is not None:
                require_free(target)
        else:
            sync(base_dir)
            return target


def atomic_json(path: Path, value: Any) -> None:
    """Writes a file atomically."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(value, indent=1) + "\n")
    partial.replace(path)
