"""Which files of a folder are images: hidden ones are left out, links are followed.

This file imports nothing but the standard library: trainers/score_images.py loads it without the package.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterable
from pathlib import PurePath

SUFFIXES = (".jpg", ".jpeg", ".png")

OTHER_SUFFIXES = (".jfif", ".jpe", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jp2", ".dcm")
"""Of images that are not read, which is worth a word."""

PROGRAMS_OWN = ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "lost+found")
"""Folders of copies, thumbnails and remains, beside those whose names begin with a dot."""


def is_hidden(name: str) -> bool:
    """Whether a file's path, as it is within a folder or an archive, is hidden, or a folder on the way to it is."""
    return any(part.startswith(".") or part in PROGRAMS_OWN for part in PurePath(name).parts)


def has_image_suffix(name: str) -> bool:
    """Whether a file is named as JPEG or PNG files are."""
    return PurePath(name).suffix.lower() in SUFFIXES


def chosen(names: Iterable[str], unreadable: Iterable[str] = ()) -> tuple[list[str], str]:
    """The JPEG and PNG files among the names of a folder or an archive, sorted, and what is left out, in words.

    Args:
        names: of files, and of folders that are not looked into, which end in /.
        unreadable: what to tell of beside them.
    """
    names = sorted(names)
    shown = [name for name in names if not is_hidden(name)]
    left_out = {
        "hidden": [name for name in names if is_hidden(name) and (has_image_suffix(name) or name[-1] == "/")],
        "in another format than JPEG and PNG": [name for name in shown if name.lower().endswith(OTHER_SUFFIXES)],
        "that cannot be read": sorted(unreadable),
    }
    told = (
        f"{len(found)} {what} ({', '.join(found[:3])}{', ...' * (len(found) > 3)})"
        for what, found in left_out.items()
        if found
    )
    return list(filter(has_image_suffix, shown)), "; ".join(told)


def images_within(folder: str, pattern: str = "**/*") -> tuple[list[str], str]:
    """`chosen` of the files of a folder and those below it, relative to it, that match a glob pattern.

    Links are followed; each folder is looked into once, however many links lead to it.
    """
    patterns = PurePath(pattern).parts
    names, unreadable, seen, folders = [], [], set(), [""]
    links: list[str] = []
    while folders or links:
        inside = folders.pop() if folders else links.pop(0)  # the folder itself comes before a link to it
        try:
            place = os.stat(os.path.join(folder, inside))
            if (place.st_dev, place.st_ino) in seen:
                continue
            seen.add((place.st_dev, place.st_ino))
            entries = sorted(os.scandir(os.path.join(folder, inside)), key=lambda entry: entry.name)
        except OSError:
            unreadable.append(inside)
            continue
        for entry in entries:
            name = os.path.join(inside, entry.name)
            parts = PurePath(name).parts
            if entry.is_dir():
                if "**" not in patterns and len(parts) >= len(patterns):
                    continue
                if is_hidden(entry.name):
                    names.append(f"{name}/")
                else:
                    (links if entry.is_symlink() else folders).append(name)
            elif _matches(parts, patterns):
                if entry.is_file():
                    names.append(name)
                elif has_image_suffix(name):
                    unreadable.append(name)
    return chosen(names, unreadable)


def _matches(parts: tuple[str, ...], patterns: tuple[str, ...]) -> bool:
    if not patterns:
        return not parts
    if patterns[0] == "**":
        return any(_matches(parts[start:], patterns[1:]) for start in range(len(parts) + 1))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], patterns[0]) and _matches(parts[1:], patterns[1:])
