"""Writes models, a detector and exports in one environment, and scores them in another; run as a script."""

import sys
from pathlib import Path

import numpy as np

ROWS = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
IMAGES = np.random.default_rng(1).integers(0, 256, (60, 8, 8, 1), np.uint8)


def rows_of(name):
    return IMAGES if name == "images" else ROWS


def models():
    import tf_radogaga as tr
    from tf_radogaga._core.stack import keras

    def functional(inputs, outputs):
        given = keras.Input((inputs,))
        return keras.Model(given, keras.layers.Dense(outputs)(keras.layers.Dense(6, "tanh")(given)))

    def scaling():
        layer = tr.MinMaxScaling(4)
        layer.adapt(ROWS)
        return layer

    networks = tr.DenseNetwork(4, (6,), 2), tr.DenseNetwork(2, (6,), 4)
    mixture = tr.MixturePrior(2, 2, covariance_floor=1e-3, em_iterations=3)
    features = tr.MixturePrior(4, 2, covariance_floor=1e-3, em_iterations=3)
    images = tr.ConvolutionalEncoder((8, 8, 1), (4,), 2, (4,)), tr.ConvolutionalDecoder(2, (4,), (8, 8, 1), (4,))
    return {
        "dagmm": tr.DAGMM(
            tr.DenseNetwork(4, (6,), 2), tr.DenseNetwork(2, (6,), 4), features, reconstruction_features=True
        ),
        "images": tr.RaDOGAGA(*images, tr.FactorizedPrior(2), 10, 10),
        "factorized": tr.RaDOGAGA(*networks, tr.FactorizedPrior(2), 10, 10, preprocess=scaling()),
        "functional": tr.RaDOGAGA(functional(4, 2), functional(2, 4), mixture, 10, 10),
        "vae": tr.BetaVAE(tr.DenseNetwork(4, (6,), 4), tr.DenseNetwork(2, (6,), 4), beta=0.1),
    }


def write(folder):
    import tf_radogaga as tr
    from tf_radogaga._core.stack import keras

    for name, model in models().items():
        model.compile(keras.optimizers.Adam(1e-2))
        model.fit(rows_of(name), epochs=2, batch_size=30, verbose=0)
        tr.save_model(model, folder / name)
        tr.export_saved_model(model, folder / "exports" / name)
        np.save(folder / f"{name}.npy", model.energy(rows_of(name)))
    detector = tr.AnomalyDetector(random_state=0).fit(ROWS)
    detector.save(folder / "detector")
    detector.export(folder / "exports" / "detector")
    np.save(folder / "detector.npy", -detector.score_samples(ROWS))


def exported(folder):
    """Scores of the exports; TensorFlow alone is imported."""
    import tensorflow as tf

    for path in sorted((folder / "exports").iterdir()):
        loaded = tf.saved_model.load(str(path / "1"))
        served = loaded.signatures["serving_default"]
        (name,) = served.structured_input_signature[1]
        scores = served(**{name: tf.constant(rows_of(path.name))})
        found = -scores["log_density"] if path.name == "detector" else scores["energy"]
        np.testing.assert_allclose(found, np.load(folder / f"{path.name}.npy"), rtol=1e-5, atol=1e-5)
    assert not {name.partition(".")[0] for name in sys.modules} & {"tf_radogaga", "tensorflow_compression"}


def read(folder):
    exported(folder)
    import tf_radogaga as tr

    for name in models():
        model = tr.load_model(folder / name)
        np.testing.assert_allclose(model.energy(rows_of(name)), np.load(folder / f"{name}.npy"), rtol=1e-5, atol=1e-5)
    scores = tr.AnomalyDetector.load(folder / "detector").score_samples(ROWS)
    np.testing.assert_allclose(-scores, np.load(folder / "detector.npy"), rtol=1e-5)


if __name__ == "__main__":
    {"write": write, "read": read, "exported": exported}[sys.argv[1]](Path(sys.argv[2]))
