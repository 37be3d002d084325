"""Lines of text of a file, whatever compressed and encoded it, and the rows of cells in them."""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import itertools
import lzma
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

OpenFile = Callable[[str], IO[bytes]]
"""Opens a path as bytes that still are compressed."""

COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zip": "zip"}
"""By the end of a file's name."""

SAMPLE = 1 << 18
"""Characters at the beginning of a file by which it is decided how it is read."""

_BOMS = (  # that of UTF-32 begins as that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
DAMAGE = (EOFError, OSError, UnicodeError, csv.Error, lzma.LZMAError, zipfile.BadZipFile, zlib.error)
"""What reading a damaged file raises."""


class Row(NamedTuple):
    """line: of the file, from 1, on which the row begins. fault: what is wrong with it, or None."""

    line: int
    cells: list[str]
    fault: str | None


def plain_file(path: str | Path) -> IO[bytes]:
    return Path(path).open("rb")


def decompressed(path: str | Path, handle: IO[bytes]) -> IO[bytes]:
    """A file's content by the end of its name.

    Raises:
        ValueError: a kind of compression that is not read, or a zip of more than one file.
    """
    suffix = Path(str(path)).suffix.lower()
    if suffix in (".zst", ".tar", ".tgz", ".7z", ".lz4"):
        raise ValueError(f"{path}: {suffix} is not read; unpack it, or pack it as one of {list(COMPRESSIONS)}.")
    if suffix == ".zip":
        archive = zipfile.ZipFile(handle)
        names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX")]
        if len(names) != 1:
            raise ValueError(f"{path}: holds {names} where one CSV file is expected; unpack it.")
        return archive.open(names[0])
    packed: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    return packed[suffix](handle, "rb") if suffix in packed else handle


def damage(path: str | Path, error: object) -> ValueError:
    """An error that names the file."""
    return ValueError(
        f"{path}: damaged, cut off, or of another kind than {Path(str(path)).suffix} says ({error}); write or fetch it"
        " anew."
    )


class Lines:
    """Lines of text of an open file, the first of which may be looked at before.

    encoding: that of the file: given, by its byte order mark, else UTF-8. NULs become U+FFFD; `nul` is the last line
    that had one.
    """

    def __init__(self, path: str | Path, handle: IO[bytes], given: str | None, kept: str | None):
        self.path, self.read, self.nul = path, 0, 0
        buffered = io.BufferedReader(cast(io.RawIOBase, handle), 1 << 20)
        try:
            head = buffered.peek(4096)
        except DAMAGE as error:
            raise damage(path, error) from error
        self.encoding = self._encoding(head, given, kept)
        self._text = io.TextIOWrapper(buffered, self.encoding, newline="")
        self.sample: list[str] = []
        self.whole, size = False, 0
        while size < SAMPLE or len(self.sample) < 20:  # lines of wide tables are long
            line = next(self._decoded(), None)
            if line is None:
                self.whole = True
                break
            self.sample.append(line)
            size += len(line)
        self._check_first("".join(self.sample[:1]))

    def _encoding(self, head: bytes, given: str | None, kept: str | None) -> str:
        if given:
            try:
                name = codecs.lookup(given).name
            except LookupError:
                raise ValueError(f"encoding: {given!r} is not one that Python knows, such as latin-1.") from None
            return "utf-8-sig" if name == "utf-8" else name
        for mark, name in _BOMS:
            if head.startswith(mark):
                return name
        kept = kept or "utf-8"
        wide = kept.startswith(("utf-16", "utf-32"))
        if wide and kept.endswith("e") and b"\0" in head:  # without a mark, as its training file
            return kept
        if wide or kept == "utf-8":
            return "utf-8-sig"
        try:
            codecs.getincrementaldecoder("utf-8")().decode(head)
        except UnicodeDecodeError:
            return kept
        if not head.isascii():
            raise ValueError(
                f"{self.path}: is UTF-8, as far as its beginning tells, where the model was trained on {kept}; say"
                f" which by --encoding utf-8 or --encoding {kept}."
            )
        return kept

    def _decoded(self) -> Iterator[str]:
        while True:
            try:
                line = self._text.readline()
            except UnicodeDecodeError as error:
                place = self.read + 1 + error.object[: error.start].count(b"\n")
                near = error.object[max(error.start - 10, 0) : error.start + 10]
                likely = "utf-16-le" if b"\0" in near else "latin-1"
                raise ValueError(
                    f"{self.path}, line {place}: {near!r} is not {self.encoding.replace('-sig', '').upper()}; it has to"
                    f" be CSV in UTF-8, or name its encoding, for example --encoding {likely} (encoding={likely!r})."
                ) from error
            except DAMAGE as error:
                raise damage(self.path, error) from error
            if not line:
                return
            self.read += 1
            yield line

    def _check_first(self, line: str) -> None:
        if "\0" in line:
            raise ValueError(
                f"{self.path}, line 1: a NUL byte, so the file is damaged, cut off, or UTF-16 without a byte order"
                " mark; then give --encoding utf-16-le (encoding='utf-16-le')."
            )
        control = [c for c in line if c == "\ufeff" or (unicodedata.category(c) == "Cc" and not c.isspace())]
        if control:
            raise damage(self.path, f"line 1 holds the control character {control[0]!r}")

    def __iter__(self) -> Iterator[str]:
        for number, line in enumerate(itertools.chain(self.sample, self._decoded()), start=1):
            if "\0" in line:
                self.nul, line = number, line.replace("\0", "\ufffd")
            yield line


def split(lines: Sequence[str] | Lines, separator: str, spaced: bool = False) -> Iterator[tuple[int, int, list[str]]]:
    """The first and the last line and the cells of each row that is not blank.

    Raises:
        csv.Error: a quoted cell that does not end, or one that is too large.
    """
    # a blank line at the end: it is a row of its own unless a quoted cell is still open
    reader = csv.reader(itertools.chain(lines, ["\n"]), delimiter=separator, skipinitialspace=spaced)
    line, cells = 1, []
    for cells in reader:
        if cells and not (len(cells) == 1 and cells[0].isspace()):
            if (last := reader.line_num) > (lines.read if isinstance(lines, Lines) else len(lines)):
                raise csv.Error(f"EOF inside string that starts in the row of line {line}")
            yield line, last, cells
        line = reader.line_num + 1


def rows(lines: Lines, separator: str, spaced: bool, trailing: bool) -> Iterator[Row]:
    """All rows, with what is wrong with them; `trailing` cuts the empty cell behind a separator at the end of lines.

    Raises:
        ValueError: the file is damaged.
    """
    width = None
    try:
        for line, last, cells in split(lines, separator, spaced):
            if trailing and not cells[-1].strip():
                cells.pop()
            width = width or len(cells)
            fault = None if len(cells) == width else f"{len(cells)} cells where the file's first line has {width}"
            yield Row(line, cells, f"a NUL byte in line {lines.nul}" if line <= lines.nul <= last else fault)
    except csv.Error as error:
        raise damage(lines.path, error) from error
