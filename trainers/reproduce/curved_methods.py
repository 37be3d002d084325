"""The methods of the table of curved surfaces: what each says of held-out rows after it has seen others."""

from __future__ import annotations

import math
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from sklearn.decomposition import PCA
from sklearn.manifold import Isomap
from sklearn.mixture import GaussianMixture

import tf_radogaga as tr
from tf_radogaga import isometry
from tf_radogaga.unfolding import recipe
from tf_radogaga_trainers.reproduce import flows
from tf_radogaga_trainers.reproduce.baselines import HERE, last_line

keras = tf.keras
STEPS = recipe.START_STEPS + recipe.STEPS
"""Of every network here, as many as `fit_isometric` takes."""
LAMBDA2 = 1 / (2 * recipe.NOISE_SHARE)
"""On rows whose variance is 1 in all; so the noise is that of `fit_isometric`."""
LOG_LAMBDA1 = 1000.0
"""lambda1 where h is the logarithm."""
NEIGHBOUR_ROWS = 3000
"""Training rows of Isomap and UMAP, which are slow; more are drawn down to this many."""
FLOW_NOISE = 0.05
"""Standard deviation of the noise that flows are trained with, in units of sqrt(variance / N)."""
FLOW_LAYERS = 5
"""Of the autoregressive flow."""


class Task(NamedTuple):
    """What a method is given. `train`, `test`: (n, M), float32; `units`: N; `columns`: that hold the surface."""

    train: np.ndarray
    test: np.ndarray
    units: int
    columns: int
    seed: int


class Found(NamedTuple):
    """Of the held-out rows: log densities (n,) by volume, in nats, and the latent (n, N), whose distances are compared.
    `tangent_r` and `tangent_slope` as in `isometry_report`, the slope where theory fixes the scale."""

    log_densities: dict[str, np.ndarray]
    latent: np.ndarray
    tangent_r: float | None = None
    tangent_slope: float | None = None
    verdict: str | None = None
    model: Any = None


def fit_isometric(task: Task) -> Found:
    model = tr.fit_isometric(task.train, task.units, seed=task.seed, verbose=0)
    return _explicit(model, task.test, 0.0)


def radogaga(task: Task, h: str, gauge: str | None) -> Found:
    """From any start: the papers' training, by the noise of `fit_isometric`."""
    scale = _scale(task.train)
    prior = tr.MixturePrior(task.units, recipe.COMPONENTS)
    lambda1 = LOG_LAMBDA1 if h == "log" else recipe.LAMBDA_RATIO * LAMBDA2
    model = tr.RaDOGAGA(*_networks(task), prior, lambda1, LAMBDA2, h=h, gauge=gauge)
    _fit(model, task.train / scale)
    return _explicit(model, task.test / scale, -task.units * math.log(scale))


def beta_vae(task: Task) -> Found:
    """The decomposed form, in its isometric coordinates."""
    scale = _scale(task.train)
    lambda1 = recipe.LAMBDA_RATIO * LAMBDA2
    model = tr.BetaVAE(*_networks(task, heads=2), lambda1=lambda1, lambda2=LAMBDA2)
    _fit(model, task.train / scale)
    test, shift = task.test / scale, -task.units * math.log(scale)
    report = isometry.implicit_report(model, test)
    latent = isometry.isometric_coordinates(model, test).numpy()
    return Found(_densities(model, test, shift), latent, report.tangent_r, report.tangent_slope, report.verdict)


def autoencoder(task: Task) -> Found:
    """Trained by the square error alone; a mixture on its latent, and the volume by the Jacobian."""
    scale = _scale(task.train)
    encoder, decoder = _networks(task)
    model = keras.Sequential([encoder, decoder])
    model.compile(_optimizer(STEPS), "mse")
    x = task.train / scale
    model.fit(x, x, batch_size=recipe.BATCH, epochs=_epochs(len(x), STEPS), verbose=0)
    test = tf.constant(task.test / scale)
    z = encoder(test)
    with tf.GradientTape() as tape:
        tape.watch(z)
        x_hat = decoder(z)
    jacobian = tape.batch_jacobian(x_hat, z).numpy().astype(np.float64)
    gram = np.swapaxes(jacobian, 1, 2) @ jacobian
    latent = z.numpy()
    log_p = _mixture(encoder(x).numpy(), task.seed).score_samples(latent) - 0.5 * np.linalg.slogdet(gram)[1]
    v, w = np.random.default_rng(task.seed).standard_normal((2, len(latent), task.units))
    data = np.einsum("ni,nij,nj->n", v, gram, w)
    r = float(np.corrcoef(np.sum(v * w, axis=1), data)[0, 1])
    return Found({"jacobian": log_p - task.units * math.log(scale)}, latent, r)


def pca(task: Task) -> Found:
    """As many principal components as the surface has dimensions, and a mixture on them."""
    components = PCA(task.units).fit(task.train)
    latent = components.transform(task.test)
    mixture = _mixture(components.transform(task.train), task.seed)
    return Found({"isometric": mixture.score_samples(latent)}, latent, 1.0, 1.0)


def isomap(task: Task) -> Found:
    found = Isomap(n_neighbors=10, n_components=task.units).fit(_some(task))
    return Found({}, found.transform(task.test))


def autoregressive_flow(task: Task, steps: int | None = None) -> Found:
    """As `spline_flow`, of TensorFlow Probability; STEPS, or so many."""
    steps = steps or STEPS
    train, test, shift = _with_noise(task)
    model = flows.Flow(task.columns, flows.autoregressive, FLOW_LAYERS, FLOW_NOISE)
    model.compile(_optimizer(steps), loss=lambda _, log_p: -log_p)
    model.fit(train, train[:, 0], batch_size=recipe.BATCH, epochs=_epochs(len(train), steps), verbose=0)
    return Found({"isometric": model.predict(test, verbose=0) + shift}, np.empty((len(test), 0)))


def spline_flow(task: Task, python: Path) -> Found:
    """A density of all space, of rows with noise; without that of the noise off the surface it is that on the surface.
    It sees only the principal components that hold the surface."""
    train, test, shift = _with_noise(task)
    arrays = _peer("spline-flow", python, task.seed, train=train, test=test, noise=FLOW_NOISE, steps=STEPS)
    return Found({"isometric": arrays["log_density"] + shift}, np.empty((len(test), 0)))


def umap(task: Task, python: Path) -> Found:
    arrays = _peer("umap", python, task.seed, train=_some(task), test=task.test, units=task.units)
    return Found({}, arrays["latent"])


def _with_noise(task: Task) -> tuple[np.ndarray, np.ndarray, float]:
    """Rows for a flow in units in which the noise is FLOW_NOISE, and what to add to its log density."""
    components = PCA(task.columns).fit(task.train)
    scale = math.sqrt(components.explained_variance_.sum() / task.units)
    train, test = (components.transform(x) / scale for x in (task.train, task.test))
    off_surface = (task.columns - task.units) / 2 * math.log(2 * math.pi * FLOW_NOISE**2)
    return train, test, off_surface - task.units * math.log(scale)


def _some(task: Task) -> np.ndarray:
    return task.train[np.random.default_rng(task.seed).permutation(len(task.train))[:NEIGHBOUR_ROWS]]


def _scale(x: np.ndarray) -> float:
    return math.sqrt(x.var(axis=0, dtype=np.float64).sum())


def _networks(task: Task, heads: int = 1) -> tuple[tr.DenseNetwork, tr.DenseNetwork]:
    columns, hidden = task.train.shape[1], 2 * (recipe.WIDTH,)
    return (
        tr.DenseNetwork(columns, hidden, heads * task.units, "gelu"),
        tr.DenseNetwork(task.units, hidden, columns, "gelu"),
    )


def _optimizer(steps: int) -> keras.optimizers.Optimizer:
    return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(recipe.RATE, steps))


def _epochs(rows: int, steps: int) -> int:
    return math.ceil(steps / math.ceil(rows / recipe.BATCH))


def _fit(model: Any, x: np.ndarray) -> None:
    model.compile(_optimizer(STEPS))
    model.fit(x, batch_size=recipe.BATCH, epochs=_epochs(len(x), STEPS), verbose=0)


def _densities(model: Any, test: np.ndarray, shift: float) -> dict[str, np.ndarray]:
    volumes = ("isometric", "jacobian")
    return {volume: model.log_density(test, volume=volume).numpy().astype(np.float64) + shift for volume in volumes}


def _explicit(model: tr.RaDOGAGA, test: np.ndarray, shift: float) -> Found:
    report = isometry.isometry_report(model, test)
    latent = model.encode(test).numpy()
    return Found(_densities(model, test, shift), latent, report.tangent_r, report.tangent_slope, report.verdict, model)


def _mixture(z: np.ndarray, seed: int) -> GaussianMixture:
    """Of as many components as BIC says."""
    fitted = [
        GaussianMixture(k, n_init=2, random_state=seed).fit(z.astype(np.float64))
        for k in range(1, recipe.COMPONENTS + 1)
    ]
    return min(fitted, key=lambda mixture: mixture.bic(z))


def _peer(name: str, python: Path, seed: int, **given: Any) -> dict[str, np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        np.savez(path / "given.npz", **given)
        ended = subprocess.run(
            [python, HERE / "peers_curved.py", name, str(seed), folder], capture_output=True, text=True
        )
        if ended.returncode:
            raise ValueError(f"{name}: {last_line(ended.stderr)}")
        return dict(np.load(path / "found.npz"))


def peers_obstacle(python: Path) -> str | None:
    """Why the peers cannot run by this interpreter; None where they can."""
    if not python.exists():
        return f"{python} is not there"
    imported = subprocess.run([python, "-c", "import umap, zuko"], capture_output=True, text=True)
    return last_line(imported.stderr) if imported.returncode else None
