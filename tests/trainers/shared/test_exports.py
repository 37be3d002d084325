import pytest

from tf_radogaga_trainers.shared import exports


def test_the_newest_version_is_by_number_and_an_empty_folder_is_refused(tmp_path):
    for version in ("2", "10", "draft"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "saved_model.pb").touch()
    (tmp_path / "11").mkdir()
    assert exports.newest_version(tmp_path) == str(tmp_path / "10")
    assert exports.newest_version(tmp_path / "2") == str(tmp_path / "2")
    with pytest.raises(SystemExit, match=r"--model: .*11 is no SavedModel"):
        exports.newest_version(tmp_path / "11")
