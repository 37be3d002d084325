from importlib import metadata

import pytest

import tf_radogaga


def test_public_names_exist():
    assert all(hasattr(tf_radogaga, name) for name in tf_radogaga.__all__)


@pytest.mark.parametrize("found", ["2.15.0", None])
def test_another_tensorflow_is_refused_with_the_pins(monkeypatch, found):
    real = metadata.version

    def version(package):
        if package != "tensorflow":
            return real(package)
        if found is None:
            raise metadata.PackageNotFoundError(package)
        return found

    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(ImportError, match=rf"tensorflow 2\.14\.\* \(found: {found or 'none'}\).*pip install"):
        tf_radogaga._check_stack()
