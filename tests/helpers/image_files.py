"""Encoded images that the tests write to files, records and zip files."""

import numpy as np
import tensorflow as tf

PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
SHAPE = (8, 6, 3)
PIXELS = np.random.default_rng(0).integers(0, 256, (12, *SHAPE), dtype=np.uint8)


def png(pixels):
    return tf.io.encode_png(pixels).numpy()


def jpeg(pixels):
    return tf.io.encode_jpeg(pixels).numpy()


def write(folder, names, contents):
    for name, content in zip(names, contents):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return [str(folder / name) for name in names]


def order(found):
    """Which of `PIXELS` the images are."""
    return [int(np.flatnonzero((image == PIXELS).all(axis=(1, 2, 3)))[0]) for image in found]


def damaged():
    """Contents that are no whole JPEG or PNG image, by name; TensorFlow alone would decode the GIF."""
    large = np.random.default_rng(1).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    whole = {"jpg": jpeg(large), "png": png(large)}
    middle = len(whole["png"]) // 2
    return {
        "cut.jpg": whole["jpg"][: len(whole["jpg"]) // 2],
        "end.jpg": whole["jpg"][:-2],
        "empty.jpg": b"",
        "text.jpg": b"no image at all",
        "gif.jpg": b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\1\0\1\0\0\2\2D\1\0;",
        "cut.png": whole["png"][:middle],
        "spliced.png": whole["png"][:middle] + PNG_END,
        "flipped.png": whole["png"][:middle] + bytes([whole["png"][middle] ^ 1]) + whole["png"][middle + 1 :],
    }
