"""MNIST and Fashion-MNIST, from idx files of the user's own or downloaded."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tf_radogaga._core import checks
from tf_radogaga._core.stack import keras

URLS = {
    "mnist": "https://ossci-datasets.s3.amazonaws.com/mnist",
    "fashion-mnist": "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
}
SHA256 = {
    "mnist": {
        "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
    "fashion-mnist": {
        "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
}
"""Of the files as they are published, in the order of the fields of `Images`."""

GZIP, UNSIGNED_BYTES = b"\x1f\x8b", b"\0\0\x08"
"""How gzip files, and idx files of unsigned bytes, begin."""


class Images(NamedTuple):
    """Pixels (n, H, W, C) of 0 to 255 with labels (n,), to train on and to test on; uint8."""

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray


def load_images(name: str, data_dir: str | Path | None = None) -> Images:
    """MNIST or Fashion-MNIST, 28 x 28 x 1.

    Args:
        name: a key of `URLS`.
        data_dir: folder of the four idx files, gzipped or plain, or of a folder `mnist` or `fashion_mnist` of them;
            they are read as they are. Without it they are downloaded to ~/.cache/tf_radogaga, once, and checked.

    Raises:
        FileNotFoundError: data_dir lacks a file.
        OSError: a file is absent and cannot be downloaded, or what was downloaded has the wrong sha256.
        ValueError: an unknown name, or a file that is damaged or holds something else, naming it.
    """
    checks.one_of("name", name, URLS)
    files = _downloaded(name) if data_dir is None else _local(name, Path(data_dir))
    return Images(*_read_labelled(*files[:2]), *_read_labelled(*files[2:]))


def _local(name: str, folder: Path) -> list[Path]:
    places = (folder, folder / name.replace("-", "_"), folder / name)
    for place in reversed(places):
        files = [next(filter(Path.is_file, (place / f, place / Path(f).stem)), None) for f in SHA256[name]]
        found = [file for file in files if file]
        if len(found) == len(files):
            return found
    raise FileNotFoundError(
        f"data_dir: none of {[str(place) for place in places]} holds all of {list(SHA256[name])}, gzipped or plain;"
        " name the folder that does, or leave data_dir out to have them downloaded."
    )


def _downloaded(name: str) -> list[str]:
    folder = Path.home() / ".cache" / "tf_radogaga" / name
    return [fetched(folder / file, f"{URLS[name]}/{file}", sha256) for file, sha256 in SHA256[name].items()]


def fetched(path: Path, url: str, sha256: str) -> str:
    """The path of a file, downloaded where it is not there; OSError where it cannot be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return keras.utils.get_file(path.name, url, file_hash=sha256, cache_dir=path.parent, cache_subdir="")
    except Exception as error:  # get_file raises plain Exception for network failures
        raise OSError(
            f"{path}: not there with sha256 {sha256}, and not downloaded from {url} ({error}); put the file there, or"
            " name the folder of your own files by data_dir."
        ) from error


def _read_labelled(images: str | Path, labels: str | Path) -> tuple[np.ndarray, np.ndarray]:
    pixels, classes = read_idx(images), read_idx(labels)
    if pixels.shape[1:] != (28, 28):
        raise ValueError(f"{images}: shape {pixels.shape} where (images, 28, 28) is expected.")
    if classes.shape != pixels.shape[:1]:
        raise ValueError(f"{labels}: labels of shape {classes.shape} for the {len(pixels)} images of {images}.")
    return pixels[..., None], classes


def read_idx(path: str | Path) -> np.ndarray:
    """The array of unsigned bytes in an idx file, gzipped or plain, uint8.

    Raises:
        ValueError: a damaged gzip file, something else than unsigned bytes, or fewer or more of them than the file
            states.
    """
    content = Path(path).read_bytes()
    if content.startswith(GZIP):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path}: damaged gzip ({error}); fetch the file anew.") from error
    if not content.startswith(UNSIGNED_BYTES):
        raise ValueError(
            f"{path}: begins with {content[:3].hex() or 'nothing'}, but an idx file of unsigned bytes begins with"
            f" {UNSIGNED_BYTES.hex()}; give the file as it is published."
        )
    header = 4 * (1 + content[3]) if len(content) > 3 else 4
    if len(content) < header:
        raise ValueError(f"{path}: ends within its header; fetch the file anew.")
    shape = tuple(np.frombuffer(content[4:header], ">u4").tolist())
    if len(content) - header != math.prod(shape):
        raise ValueError(
            f"{path}: {len(content) - header} values where {math.prod(shape)} of shape {shape} are stated; fetch the"
            " file anew."
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy()
