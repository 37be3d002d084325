"""Locks of directories."""

import pytest

from tf_radogaga._core import directories


def test_a_lock_goes_with_its_holder(tmp_path):
    with directories.lock(tmp_path):
        with pytest.raises(BlockingIOError), directories.lock(tmp_path):
            pass
        assert (tmp_path / "lock").exists()
    with directories.lock(tmp_path):
        pass
    assert not list(tmp_path.iterdir())
