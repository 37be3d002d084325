import os
import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from helpers.image_files import PIXELS, SHAPE, damaged, jpeg, order, png, write
from helpers.marks import after

from tf_radogaga.datasets import images
from tf_radogaga.datasets.images import find_images, from_files, from_records, load_files, readable
from tf_radogaga.preprocessing import ImageScaling
from tf_radogaga.preprocessing.images import decode_readable_images


@pytest.fixture
def files(tmp_path):
    """PNG files of `PIXELS`, in order."""
    return write(tmp_path / "files", [f"{i:02}.png" for i in range(len(PIXELS))], map(png, PIXELS))


def example(**features):
    values = {name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[v])) for name, v in features.items()}
    return tf.train.Example(features=tf.train.Features(feature=values)).SerializeToString()


def write_records(path, records):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    return str(path)


def drawn(dataset):
    """All images of one pass, (n, H, W, C)."""
    return np.concatenate(list(dataset.as_numpy_iterator()))


def test_images_are_found_by_suffix_and_sorted(tmp_path):
    names = ["b.JPG", "a.png", "deep/er/c.Jpeg", "notes.txt", "png"]
    write(tmp_path, names, [b""] * len(names))
    (tmp_path / "folder.jpg").mkdir()
    assert find_images(tmp_path) == [str(tmp_path / name) for name in ("a.png", "b.JPG", "deep/er/c.Jpeg")]
    assert find_images(str(tmp_path), "*.JPG") == [str(tmp_path / "b.JPG")]


def test_folders_without_images_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"path: '.*nowhere' is no folder; name the one"):
        find_images(tmp_path / "nowhere")
    write(tmp_path, ["notes.txt"], [b""])
    with pytest.raises(FileNotFoundError, match=rf"path: '{tmp_path}' holds no file .*\.png that matches '\*\*/\*'"):
        find_images(tmp_path)
    write(tmp_path, ["a.jpg"], [b""])
    with pytest.raises(FileNotFoundError, match=r"that matches 'b\*'; name another folder or pattern"):
        find_images(tmp_path, "b*")


@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_png_files_give_their_pixels_back(files, batch_size):
    dataset = from_files(files, SHAPE, batch_size)
    assert dataset.element_spec == tf.TensorSpec((None, *SHAPE), tf.uint8)
    sizes = [len(batch) for batch in dataset]
    assert sizes[:-1] == [batch_size] * (len(sizes) - 1) and len(dataset) == len(sizes)
    np.testing.assert_array_equal(drawn(dataset), PIXELS)
    found = load_files([Path(file) for file in files], SHAPE)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, PIXELS)


def test_pipelines_and_servers_decode_alike(tmp_path):
    rng = np.random.default_rng(2)
    contents = [jpeg(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)) for h, w in ((40, 30), (9, 50), (8, 6), (3, 2))]
    files = write(tmp_path, ["a.jpg", "b.jpg", "c.jpg", "d.jpg"], contents)
    np.testing.assert_array_equal(load_files(files, SHAPE), decode_readable_images(tf.constant(contents), SHAPE)[0])


def test_scaling_takes_the_batches_in_a_graph(files):
    scaling = ImageScaling(SHAPE)
    dataset = from_files(files, SHAPE, 5).map(lambda batch: scaling(scaling.check(batch)))
    np.testing.assert_array_equal(drawn(dataset), PIXELS.astype(np.float32) / 255)


@pytest.mark.skipif(sys.platform != "linux", reason="file names are Unicode")
def test_file_names_need_not_be_unicode(tmp_path):
    folder = tmp_path / os.fsdecode(b"b\xffd")
    files = write(folder, ["train/0.png", "test/1.png"], [png(PIXELS[0]), png(PIXELS[1])])
    assert order(load_files(readable(files), SHAPE)) == [0, 1] == order(drawn(from_files(files, SHAPE)))


@pytest.mark.parametrize("options", after(1, [{"shuffle_seed": 3}, {}, {"shuffle_seed": 3, "cache": True}]))
def test_records_equal_files(files, options, tmp_path):
    encoded = [example(image=Path(file).read_bytes(), label=b"x") for file in files]
    paths = [write_records(tmp_path / f"{i}.tfrecord", encoded[4 * i : 4 * i + 4]) for i in range(3)]
    expected, found = from_files(files, SHAPE, 5, **options), from_records(paths, SHAPE, batch_size=5, **options)
    assert found.element_spec == expected.element_spec and len(found) == len(expected)
    for _ in range(2):
        np.testing.assert_array_equal(drawn(found), drawn(expected))


def test_record_files_by_a_pattern_are_sorted(tmp_path):
    (tmp_path / "deep").mkdir()
    for i in (2, 0, 1):
        write_records(tmp_path / "deep" / f"{i}.tfrecord", [example(image=png(PIXELS[i]))])
    for pattern, expected in ((tmp_path / "deep" / "?.tfrecord", [0, 1, 2]), (f"{tmp_path}/**/[12]*", [1, 2])):
        assert order(drawn(from_records(pattern, SHAPE))) == expected


@pytest.mark.parametrize("cache", after(1, [True, False]))
def test_the_seed_orders_each_pass_anew(files, cache):
    def passes(seed):
        dataset = from_files(files, SHAPE, 5, seed, cache)
        return [order(drawn(dataset)) for _ in range(3)]

    assert passes(None) == [list(range(12))] * 3
    first = passes(1)
    assert passes(1) == first != passes(2)
    assert all(sorted(found) == list(range(12)) for found in first)
    assert len({tuple(found) for found in first}) == 3


def test_the_whole_set_is_shuffled(files):
    passes = from_files(files, SHAPE, 12, shuffle_seed=0).repeat(150)
    assert {order(images)[0] for images in passes.as_numpy_iterator()} == set(range(12))


def test_cached_images_are_read_once(files):
    cached, read = from_files(files, SHAPE, shuffle_seed=0, cache=True), from_files(files, SHAPE)
    drawn(cached)
    shutil.rmtree(Path(files[0]).parent)
    assert sorted(order(drawn(cached))) == list(range(12))
    with pytest.raises(tf.errors.NotFoundError, match=r"00\.png"):
        drawn(read)


@pytest.mark.thorough
def test_damaged_files_are_left_out_and_named(files, tmp_path):
    bad = write(tmp_path, damaged(), damaged().values())
    given = [*files[:3], *bad[:4], files[3], *bad[4:], *files[4:]]
    message = rf"^8 of 20 images are left out, as they cannot be read, or .* images: {', '.join(bad)}; save them anew"
    with pytest.warns(UserWarning, match=message):
        assert readable(given) == files
    with pytest.warns(UserWarning, match=message):
        np.testing.assert_array_equal(load_files(given, SHAPE), PIXELS)
    for file in bad:
        with pytest.raises(tf.errors.InvalidArgumentError):
            drawn(from_files([*files, file], SHAPE))


def test_bytes_after_the_end_are_no_damage(tmp_path):
    """Phones append data, and editors newlines."""
    contents = [png(PIXELS[0]) + b"\n", png(PIXELS[1]) + bytes(1000)]
    found = write(tmp_path, ["a.png", "b.png"], contents)
    assert order(load_files(found, SHAPE)) == [0, 1] == order(drawn(from_files(found, SHAPE)))


def test_whole_files_are_no_matter_for_a_warning(files):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert readable([Path(file) for file in files]) == files
        load_files(files, SHAPE)


def test_ten_names_and_a_count_are_enough(files, tmp_path):
    missing = [str(tmp_path / f"missing{i}.jpg") for i in range(13)]
    with pytest.warns(UserWarning, match="^13 of 25 images") as warned:
        assert readable([*missing, *files]) == files
    text = str(warned[0].message)
    assert all(file in text for file in missing[:10]) and not any(file in text for file in missing[10:])
    assert f"{missing[9]} and 3 more;" in text


def test_an_unreadable_file_is_named_by_the_pipeline(tmp_path):
    bad = write(tmp_path, ["bad.jpg"], [b"no image"])
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"bad\.jpg\].*is no JPEG or PNG image"):
        drawn(from_files(bad, SHAPE))


def test_files_of_which_none_is_an_image(tmp_path):
    bad = write(tmp_path, damaged(), damaged().values())
    for function in (readable, lambda files: load_files(files, SHAPE)):
        with pytest.raises(ValueError, match=rf"files: all 8 cannot be read, or .*: {bad[0]}, .*; give at least one"):
            function(bad)
    for nothing in ([], "folder/*.jpg"):
        for function in (readable, lambda files: load_files(files, SHAPE), lambda files: from_files(files, SHAPE)):
            with pytest.raises(ValueError, match=r"files: .* where a list of at least one file is expected"):
                function(nothing)


def test_image_shapes_that_no_image_decodes_to(files):
    for function in (from_files, load_files, from_records):
        with pytest.raises(ValueError, match=r"image_shape: \(8, 6, 4\) has 4 channels; give 1 \(grey\) or 3"):
            function(files, (8, 6, 4))
        with pytest.raises(ValueError, match=r"image_shape: \(8, 6\) must be"):
            function(files, (8, 6))


@pytest.mark.parametrize("encode", [png, jpeg])
def test_the_centre_is_kept(encode, tmp_path):
    """The centre is grey 200, what lies around it black; JPEG blurs the border."""
    wide = np.zeros((24, 72, 3), np.uint8)
    wide[:, 24:48] = 200
    tolerance = 0 if encode is png else 3
    tall = write(tmp_path, ["wide", "tall"], [encode(wide), encode(wide.transpose(1, 0, 2))])
    for size in (24, 8):
        found = load_files(tall, (size, size, 3))
        np.testing.assert_allclose(found.astype(int), 200, atol=tolerance)


def test_channels_are_converted(tmp_path):
    grey = PIXELS[0, ..., :1]
    files = write(tmp_path, ["grey.png", "colour.png"], [png(grey), png(PIXELS[1])])
    three, one = load_files(files, SHAPE), load_files(files, (8, 6, 1))
    np.testing.assert_array_equal(three, [np.repeat(grey, 3, axis=-1), PIXELS[1]])
    np.testing.assert_array_equal(one[0], grey)
    np.testing.assert_allclose(one[1, ..., 0], PIXELS[1] @ [0.299, 0.587, 0.114], atol=1)
    np.testing.assert_array_equal(drawn(from_files(files, (8, 6, 1))), one)


def test_bad_records_are_left_out_and_named(tmp_path):
    contents = [png(pixels) for pixels in PIXELS]
    first = write_records(tmp_path / "a", [b"no Example", example(image=contents[0]), example(other=contents[1])])
    bad = [example(image=content) for content in list(damaged().values())[:7]]
    second = write_records(tmp_path / "b", [*bad, example(image=contents[2])])
    with pytest.warns(UserWarning, match="^9 of 11 images are left out") as warned:
        dataset = from_records([first, second], SHAPE, shuffle_seed=0)
    names = [f"{first}:0", f"{first}:2", *(f"{second}:{i}" for i in range(7))]
    reason = "as they are no tf.train.Example with a whole JPEG or PNG image in 'image'"
    assert f"{reason}: {', '.join(names)}; save" in str(warned[0].message)
    assert sorted(order(drawn(dataset))) == [0, 2] and len(dataset) == 1


def test_a_wrong_feature_is_answered_with_those_there_are(tmp_path):
    path = write_records(tmp_path / "a", [example(**{"image/encoded": png(PIXELS[0]), "label": b"x"})])
    message = rf"feature: all 1 records in {path} are no .* in 'image' \(the first has \['image/encoded', 'label'\]\)"
    with pytest.raises(ValueError, match=message):
        from_records([path], SHAPE)
    np.testing.assert_array_equal(drawn(from_records([path], SHAPE, "image/encoded")), PIXELS[:1])
    for records in ([], [b"no Example"]):
        with pytest.raises(ValueError, match=rf"all {len(records)} records in .* in 'image'; name the feature"):
            from_records([write_records(tmp_path / "b", records)], SHAPE)


def test_damaged_record_files_are_named(tmp_path):
    whole = write_records(tmp_path / "whole", [example(image=png(pixels)) for pixels in PIXELS[:3]])
    content = Path(whole).read_bytes()
    text = b"this is no TFRecord file"
    ends = (1, 5, len(content) // 2, len(content) - 11)  # within check sums, data and the first record's header
    for broken in (*(content[:-end] for end in ends), b"\xff" + content[1:], text):
        bad = write(tmp_path, ["bad"], [broken])[0]
        with pytest.raises(ValueError, match=rf"files: {bad} is damaged or cut off.*write or fetch it anew"):
            from_records([whole, bad], SHAPE)
    with pytest.raises(FileNotFoundError, match=r"files: '.*nothing\*' matches none"):
        from_records(tmp_path / "nothing*", SHAPE)
    with pytest.raises(tf.errors.NotFoundError, match="nowhere"):
        from_records([str(tmp_path / "nowhere")], SHAPE)


@pytest.mark.parametrize("label_mode", [None, "int"])
def test_batches_of_keras_become_uint8(label_mode, tmp_path):
    write(tmp_path, [f"{'ab'[i % 2]}/{i:02}.png" for i in range(12)], map(png, PIXELS))
    dataset = tf.keras.utils.image_dataset_from_directory(
        tmp_path, label_mode=label_mode, image_size=SHAPE[:2], batch_size=12, shuffle=False
    )
    scaling = ImageScaling(SHAPE)
    batch = next(iter(dataset))
    with pytest.raises(ValueError, match=r"floats must lie in 0\.\.1.*divide values of 0 to 255 by 255, or cast them"):
        scaling.check(batch if label_mode is None else batch[0])
    line = next(line for line in images.__doc__.splitlines() if line.startswith("    dataset.map"))
    found = next(iter(eval(line.strip(), {"tf": tf, "dataset": dataset})))
    assert len(found) == (1 if label_mode is None else 2)
    by_class = np.concatenate([PIXELS[::2], PIXELS[1::2]])
    np.testing.assert_array_equal(scaling(scaling.check(found[0])), by_class.astype(np.float32) / 255)
