"""Every kind of JPEG and PNG file: the pixels that a viewer shows, to training, to servers and to clients alike."""

import io
import os
import shutil
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from helpers.image_files import damaged, png, write
from PIL import Image, ImageOps

import tf_radogaga
from tf_radogaga.datasets.images import from_files, load_files, readable
from tf_radogaga.preprocessing import encoded_images
from tf_radogaga.preprocessing.images import decode_readable_images
from tf_radogaga_trainers import score_images
from tf_radogaga_trainers.shared import exports

RNG = np.random.default_rng(0)
HEIGHT, WIDTH = 8, 6
RGB = RNG.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
ALPHA = RNG.integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (HEIGHT, WIDTH, 4)).astype(np.uint16)
LUMA = np.array([0.299, 0.587, 0.114])


def saved(image, kind="PNG", **options):
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_of(values, depth, kind, extra=b"", size=None):
    """A PNG file written by hand, of what Pillow does not write: values (h, bytes)."""
    height, width = size or (len(values), values.shape[1] * 8 // depth // {0: 1, 2: 3, 4: 2, 6: 4}[kind])
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    lines = b"".join(b"\0" + bytes(line) for line in values)
    return b"".join(
        [encoded_images.PNG, chunk(b"IHDR", header), extra, chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b"")]
    )


def deep(*channels, kind, extra=b""):
    values = np.ascontiguousarray(DEEP[..., list(channels)].astype(">u2"))
    return png_of(values.view(np.uint8).reshape(HEIGHT, -1), 16, kind, extra)


def on_white(colours, alpha):
    alpha = np.asarray(alpha, float)[..., None] / 255
    return alpha * np.broadcast_to(colours, (HEIGHT, WIDTH, 3)) + (1 - alpha) * 255


def by_pillow(content):
    image = np.asarray(Image.open(io.BytesIO(content)).convert("RGBA"), float)
    return on_white(image[..., :3], image[..., 3])


def kinds():
    """Contents by name, and the colours (h, w, 3) that a viewer shows, floats of 0 to 255."""
    colour, grey, palette = Image.fromarray(RGB), Image.fromarray(RGB[..., 0]), Image.fromarray(RGB).quantize(16)
    to_8 = DEEP / 257
    found = {
        "one bit": saved(Image.fromarray(RGB[..., 0] > 127)),
        "two bits": png_of(RNG.integers(0, 256, (HEIGHT, 2), dtype=np.uint8)[:, [0, 1]], 2, 0, size=(HEIGHT, WIDTH)),
        "grey": saved(grey),
        "grey, one value transparent": saved(grey, transparency=int(RGB[2, 1, 0])),
        "grey, alpha": saved(Image.fromarray(np.dstack([RGB[..., 0], ALPHA]), "LA")),
        "colour": saved(colour),
        "colour, interlaced": saved(colour, interlace=1),
        "colour, one value transparent": saved(colour, transparency=tuple(int(v) for v in RGB[2, 1])),
        "colour, alpha": saved(Image.fromarray(np.dstack([RGB, ALPHA]))),
        "colour, opaque alpha": saved(Image.fromarray(np.dstack([RGB, np.full_like(ALPHA, 255)]))),
        "palette": saved(colour.quantize(200)),
        "palette of two": saved(colour.quantize(2), bits=1),
        "palette, one transparent": saved(palette, transparency=3),
        "palette, alpha": saved(palette, transparency=bytes(range(0, 256, 16))),
        "jpeg": saved(colour, "JPEG", quality=95),
        "jpeg, progressive": saved(colour, "JPEG", progressive=True),
        "jpeg, grey": saved(grey, "JPEG"),
        "jpeg, cmyk": saved(colour.convert("CMYK"), "JPEG", quality=95),
    }
    found = {name: (content, by_pillow(content)) for name, content in found.items()}
    transparent = chunk(b"tRNS", struct.pack(">H", int(DEEP[3, 2, 0])))
    mask = np.where(DEEP[..., 0] == DEEP[3, 2, 0], 0, 255)
    found |= {  # Pillow clips or truncates these
        "16 bits, grey": (deep(0, kind=0), to_8[..., :1]),
        "16 bits, grey, one value transparent": (deep(0, kind=0, extra=transparent), on_white(to_8[..., :1], mask)),
        "16 bits, grey, alpha": (deep(0, 3, kind=4), on_white(to_8[..., :1], to_8[..., 3])),
        "16 bits, colour": (deep(0, 1, 2, kind=2), to_8[..., :3]),
        "16 bits, colour, alpha": (deep(0, 1, 2, 3, kind=6), on_white(to_8[..., :3], to_8[..., 3])),
    }
    return {name: (content, np.broadcast_to(shown, (HEIGHT, WIDTH, 3))) for name, (content, shown) in found.items()}


KINDS = kinds()
CONTENTS = [content for content, _ in KINDS.values()]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write(tmp_path_factory.mktemp("kinds"), [f"{i:02}.png" for i in range(len(KINDS))], CONTENTS)


@pytest.fixture(scope="module", params=[1, 3])
def loaded(request, files):
    """What training sees of all kinds, (n, h, w, C)."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return load_files(files, (HEIGHT, WIDTH, request.param))


@pytest.mark.thorough
def test_every_kind_of_file_shows_what_a_viewer_shows(loaded):
    channels = loaded.shape[-1]
    for (name, (_, shown)), found in zip(KINDS.items(), loaded):
        expected = shown if channels == 3 else (shown @ LUMA)[..., None]
        tolerance = 12 if name.startswith("jpeg") else 2  # decoders of JPEG may differ
        np.testing.assert_allclose(found.astype(int), expected, atol=tolerance, err_msg=name)


def test_opaque_values_are_exact(files):
    names, found = list(KINDS), load_files(files, (HEIGHT, WIDTH, 3))
    for name in (
        "one bit",
        "grey",
        "colour",
        "colour, interlaced",
        "colour, opaque alpha",
        "palette",
        "palette of two",
    ):
        np.testing.assert_array_equal(found[names.index(name)], KINDS[name][1], err_msg=name)
    for name in ("16 bits, grey", "16 bits, colour"):
        np.testing.assert_array_equal(found[names.index(name)], np.round(KINDS[name][1]), err_msg=name)


def test_pipelines_servers_and_clients_see_what_training_sees(loaded, files):
    shape = loaded.shape[1:]
    np.testing.assert_array_equal(np.concatenate(list(from_files(files, shape))), loaded)
    served, valid = tf.function(lambda contents: decode_readable_images(contents, shape))(tf.constant(CONTENTS))
    assert valid.numpy().all()
    np.testing.assert_array_equal(served, loaded)
    for file, expected in zip(files, loaded):  # an older export has this decoder alone
        sent, _ = score_images.readable(Path(file), shape[2])
        np.testing.assert_array_equal(tf.io.decode_jpeg(sent, shape[2]), expected)
        assert sent.endswith((score_images.JPEG_END, score_images.PNG_END))


def entries(orientation, little, long):
    """An EXIF block: a maker before the orientation, the software after it."""
    order = "<" if little else ">"
    value = struct.pack(
        f"{order}HHII" if long else f"{order}HHIHH", 0x112, 4 if long else 3, 1, orientation, *[0][long:]
    )
    texts = [struct.pack(f"{order}HHI4s", tag, 2, 4, b"abc\0") for tag in (0x10F, 0x131)]
    header = (b"II*\0" if little else b"MM\0*") + struct.pack(f"{order}IH", 8, 3)
    return b"Exif\0\0" + header + texts[0] + value + texts[1] + bytes(4)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize("little", [False, True])
def test_images_are_turned_as_their_exif_says(kind, little, long):
    flat = tf.io.decode_jpeg(saved(Image.fromarray(RGB), kind), 3).numpy()
    for orientation in range(10):
        content = saved(Image.fromarray(RGB), kind, exif=entries(orientation, little, long))
        image = Image.fromarray(flat)
        image.getexif()[0x112] = Image.open(io.BytesIO(content)).getexif()[0x112]
        assert image.getexif()[0x112] == orientation
        expected = np.asarray(ImageOps.exif_transpose(image))
        content = tf.constant(content)
        np.testing.assert_array_equal(encoded_images.decode(content, 3), expected, err_msg=str(orientation))
        assert bool(encoded_images.is_plain(content)) == (orientation not in range(2, 9))


def test_orientations_of_other_images_within_a_file_are_no_matter():
    """Thumbnails, and what phones append, have EXIF of their own."""
    turned = saved(Image.fromarray(RGB), "JPEG", exif=entries(6, True, False))
    large = saved(Image.fromarray(RNG.integers(0, 256, (200, 300, 3), dtype=np.uint8)), "JPEG", quality=100)
    assert len(large) > 2**16
    for first in (large, saved(Image.fromarray(RGB))):
        np.testing.assert_array_equal(
            encoded_images.decode(tf.constant(first + turned), 3), tf.io.decode_jpeg(first, 3)
        )


def test_values_of_cameras_of_12_bits_are_told(tmp_path):
    ramp = np.linspace(0, 4095, 48).astype(np.uint16).reshape(HEIGHT, WIDTH, 1)
    dark = tf.io.encode_png(ramp).numpy()
    black, bright = (tf.io.encode_png(np.full_like(ramp, value)).numpy() for value in (0, 2**14))
    files = write(tmp_path, ["dark.png", "black.png", "bright.png"], [dark, black, bright])
    told = rf"1 of 3 images are perhaps not what you think: {files[0]} holds 16-bit values up to 4095 of 65535 and"
    with pytest.warns(UserWarning, match=told) as warned:
        assert readable(files) == files
    with pytest.warns(UserWarning, match=told):
        found = load_files(files, (HEIGHT, WIDTH, 1))
    (message,) = (str(one.message) for one in warned if one.category is UserWarning)
    assert "multiplied so that white is 65535" in message
    np.testing.assert_array_equal(found[0], np.round(ramp / 257))
    with pytest.warns(UserWarning, match=rf"{files[0]} holds 16-bit values up to 4095.*`readable` names all") as warned:
        dataset = from_files([*files, files[0]], (HEIGHT, WIDTH, 1))
        assert [len(list(dataset)) for _ in range(2)] == [1, 1]
    assert len([one for one in warned if one.category is UserWarning]) == 1


def test_the_first_picture_of_an_animation_is_taken_and_told(tmp_path):
    pictures = [Image.fromarray(RGB), Image.fromarray(255 - RGB)]
    files = write(tmp_path, ["a.png"], [saved(pictures[0], save_all=True, append_images=pictures[1:])])
    with pytest.warns(UserWarning, match=r"a\.png is animated, and its first picture is taken"):
        found = load_files(files, RGB.shape)
    np.testing.assert_array_equal(found[0], RGB)


def unreadable():
    """Contents that are left out, by name."""
    image = Image.fromarray(RGB)
    others = {f"{kind}.png": saved(image, kind) for kind in ("GIF", "BMP", "WEBP", "TIFF")}
    begins = {f"{size}.png": png(RGB)[:size] for size in (3, 8, 16, 24, 25, 26, 33)} | {"3.jpg": encoded_images.JPEG}
    bomb = {"bomb.png": png_of(np.zeros((1, 100), np.uint8), 8, 0, size=(20000, 20000))}
    return {**damaged(), **others, **begins, **bomb, "cmyk.jpg": KINDS["jpeg, cmyk"][0][:-60]}


@pytest.mark.parametrize("channels", [1, 3])
def test_a_bad_file_is_not_valid_and_harms_no_other(channels):
    shape, bad = (HEIGHT, WIDTH, channels), list(unreadable().values())
    mixed = [content for pair in zip(bad, CONTENTS + CONTENTS) for content in pair]
    images, valid = decode_readable_images(tf.constant(mixed), shape)
    assert valid.numpy().tolist() == [False, True] * len(bad)
    expected, _ = decode_readable_images(tf.constant((CONTENTS + CONTENTS)[: len(bad)]), shape)
    np.testing.assert_array_equal(images[1::2], expected)
    assert not images[::2].numpy().any()


def test_bad_files_are_left_out_of_training_and_named(tmp_path):
    bad = write(tmp_path, unreadable(), unreadable().values())
    whole = write(tmp_path, ["whole.png"], [png(RGB)])
    with pytest.warns(UserWarning, match=rf"^{len(bad)} of {len(bad) + 1} images are left out.*{bad[0]}"):
        np.testing.assert_array_equal(load_files([*bad, *whole], RGB.shape), RGB[None])
    for file in bad:
        assert score_images.readable(Path(file), 3) == (b"", "")


SHIPPED = Path(__file__).parents[2] / "saved_models" / "mnist"
"""An export of grey images, 28 x 28, whose graph decodes them as it was done before."""


@pytest.fixture(params=["shipped", "new"])
def digits(request, tmp_path):
    if request.param == "shipped":
        return SHIPPED
    shape = (28, 28, 1)
    networks = tf_radogaga.DenseNetwork(shape, (), 2), tf_radogaga.DenseNetwork(2, (), shape)
    model = tf_radogaga.RaDOGAGA(*networks, tf_radogaga.NormalPrior(2), lambda1=1.0, lambda2=1.0)
    return tf_radogaga.export_saved_model(model, tmp_path / "model")


@pytest.mark.thorough
def test_the_client_scores_what_training_sees_and_never_dies(digits, files, tmp_path, capsys):
    folder = tmp_path / "in"
    shutil.copytree(Path(files[0]).parent, folder / "good")
    bad = write(folder / "bad", unreadable(), unreadable().values())
    turned = saved(Image.fromarray(RGB), "JPEG", exif=entries(6, True, False))
    write(folder, ["good/turned.jpg", ".thumbnails/a.png", "good/b.webp"], [turned, png(RGB), b""])
    write(folder, [os.fsdecode(b"good/not \xff Unicode.png")], [png(RGB)])
    os.symlink(folder / "nowhere", folder / "bad" / "gone.png")
    command = ["--model", str(digits), "--input", str(folder), "--output", str(tmp_path / "scores.csv")]
    score_images.main([*command, "--batch-size", "7"])
    scores = pd.read_csv(tmp_path / "scores.csv", encoding_errors="backslashreplace").set_index("file")
    assert list(scores.index) == sorted(scores.index) and len(scores) == len(bad) + len(KINDS) + 2
    valid = sorted((folder / "good").glob("*.[jp]*"))
    names = [os.fsencode(path).decode(errors="backslashreplace") for path in valid]
    assert scores.index[scores["valid"]].tolist() == names
    served = tf.saved_model.load(exports.newest_version(digits))
    found = served.signatures["serving_default"](images=tf.constant(load_files(valid, (28, 28, 1))))
    np.testing.assert_allclose(scores.loc[names, "energy"], found["energy"], rtol=1e-5)
    said = capsys.readouterr().err
    assert "1 hidden (.thumbnails/); 1 in another format" in said and "1 that cannot be read (bad/gone.png)" in said


@pytest.mark.thorough
def test_the_client_tells_of_values_of_12_bits(tmp_path, capsys):
    ramp = np.linspace(0, 4095, 28 * 28).astype(np.uint16).reshape(28, 28, 1)
    files = write(tmp_path, ["a.png"], [tf.io.encode_png(ramp).numpy()])
    score_images.main(["--model", str(SHIPPED), "--input", files[0], "--output", str(tmp_path / "scores.csv")])
    assert f"1 images are perhaps not what you think: {files[0]} holds 16-bit values" in capsys.readouterr().err


def test_where_a_graph_fails_the_client_scores_the_others():
    """Exports of before fail as a whole at what their decoders do not take."""
    energies = {b"": np.nan, b"a": 1.0, b"bb": 2.0}

    def score(image_bytes):
        if b"bad" in image_bytes.numpy():
            raise tf.errors.InvalidArgumentError(None, None, "as the whole batch")
        found = [energies[content] for content in image_bytes.numpy()]
        return {"energy": tf.constant(found), "valid": tf.constant(np.isfinite(found))}

    found = score_images.scores_of([b"a", b"bad", b"bb", b""], score)
    np.testing.assert_array_equal(found["energy"], [1, np.nan, 2, np.nan])
    np.testing.assert_array_equal(found["valid"], [True, False, True, False])
