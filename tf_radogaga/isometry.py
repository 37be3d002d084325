"""Is the latent isometric? Tangent pairs, Gram matrices, unit norms, spectrum and traversals of a fitted model.

At the optimum of RaDOGAGA, with the Jacobian J = dx_hat/dz and the metric A of the distortion at x_hat,

    metric_scale J' A J = I      at every z,      metric_scale = 2 lambda2 sigma2

and each function here measures this from another side, along the informative part of the latent, in units in which
the theory's value is 1. Where the loss does not fix the scale (`metric_scale` is None) values are raw.

Rows are raw, as `Autoencoder.energy` takes them; n is the number of informative dimensions, and that of all latent
units N where `fit` judged none, as with `reconstruction_features`. Every function raises RuntimeError where the prior
is not adapted, and TypeError or ValueError for bad rows.

Sources: Kato et al., ICML 2020, Eq. 13-14 and section 5.1; arXiv v1, section 4.3.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import tensorflow as tf

from tf_radogaga import geometry
from tf_radogaga.autoencoder import Autoencoder

LEAST_PEARSON_R = 0.99
"""Of the tangent pairs of an isometric model; the paper's models reach 0.97, its beta-VAE 0.7."""

MOST_SLOPE_ERROR = 0.05
"""Distance of the slope from 1 in an isometric model."""


def tangent_pairs(model: Autoencoder, rows: Any, pairs: int = 1000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """v . w of random tangent vectors in the latent, and metric_scale v_x' A w_x of what the decoder makes of them.

    Each pair sits at a random row; v and w are standard normal in the informative dimensions.
    Source: Kato et al., ICML 2020, Eq. 14 and Fig. 4, with derivatives in place of differences.

    Returns:
        latent (pairs,) and data (pairs,), float64, in squared units of z: equal where the model is isometric.

    Raises:
        ValueError: pairs below 1.
    """
    _require_positive(pairs=pairs)
    z, directions, random = _latents(model, rows), _directions(model), np.random.default_rng(seed)
    z = tf.gather(z, random.integers(len(z), size=pairs))
    along = random.standard_normal((pairs, 2, len(directions)))
    vectors = tf.tensordot(tf.constant(along, tf.float32), directions, 1)

    def products(part: slice) -> tf.Tensor:
        x_hat, tangent = geometry.tangents(model._decode, z[part], vectors[part])
        return model.distortion.inner_product(x_hat, tangent[:, 0], tangent[:, 1])

    data = _scale(model) * _in_blocks(model, pairs, 2, products).numpy().astype(np.float64)
    return np.sum(along[:, 0] * along[:, 1], axis=1), data


def gram_matrices(model: Autoencoder, rows: Any) -> tf.Tensor:
    """metric_scale J' A J at the latent of each row along `informative_directions`, (B, n, n): the identity is right.

    Source: Kato et al., ICML 2020, Eq. 13.
    """
    z, directions = _latents(model, rows), _directions(model)

    def gram(part: slice) -> tf.Tensor:
        return geometry.gram(model._decode, model.distortion, z[part], directions)

    return _scale(model) * _in_blocks(model, len(z), len(directions), gram)


def latent_axes(model: Autoencoder, rows: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The directions of the latent that mean something one by one, that of the largest variance first.

    They are the informative axes, or the principal directions where the prior is blind to a rotation of z.

    Returns:
        The mean of z (N,), orthonormal directions (n, N), and the variances of z along them (n,); float64.
    """
    z, axes = (t.numpy().astype(np.float64) for t in (_latents(model, rows), _directions(model)))
    mean = z.mean(axis=0)
    covariance = axes @ (z - mean).T @ (z - mean) @ axes.T / len(z)
    variance = np.diagonal(covariance)
    if not model.prior.axis_aligned:
        variance, rotation = np.linalg.eigh(covariance)
        axes = rotation.T @ axes
        axes *= np.sign(np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1))  # eigh fixes no sign
    order = np.argsort(-variance, kind="stable")
    return mean, axes[order], np.maximum(variance[order], 0)


def latent_spectrum(model: Autoencoder, rows: Any) -> tuple[np.ndarray, np.ndarray]:
    """Variances of z along `latent_axes` (n,), in squared units of z, and their cumulative share (n,), up to 1.

    Source: Kato et al., ICML 2020, Fig. 5.
    """
    variance = latent_axes(model, rows)[2]
    return variance, _cumulative_share(variance)


def response(
    model: Autoencoder, rows: Any, step: float | None = None, axes: np.ndarray | tf.Tensor | None = None
) -> tf.Tensor:
    """metric_scale D'_i at the latent of each row, (B, n): 1 is right.

        D'_i(z) = D(g(z), g(z + step e_i)) / step^2

    Source: Kato et al., arXiv v1, section 4.3 and Fig. 4.

    Args:
        model: fitted.
        rows: raw rows.
        step: in units of z; default: the standard deviation of the noise in the loss, which is the step that the loss
            sees, or a tenth of that of z where the loss does not fix its scale.
        axes: directions e_i, (n, N), orthonormal; default `latent_axes` of these rows.

    Raises:
        ValueError: a step that is not positive.
    """
    _, found, variance = latent_axes(model, rows)
    step = _noise_step(model, variance) if step is None else step
    if not step > 0:
        raise ValueError(f"step: {step} must be positive; its default is 0 where z does not vary over the rows.")
    z, moves = _latents(model, rows), step * tf.cast(found if axes is None else axes, tf.float32)

    def excess(part: slice) -> tf.Tensor:
        x_hat = tf.repeat(model._decode(z[part]), len(moves), axis=0)
        moved = model._decode(tf.reshape(z[part, None] + moves, (-1, z.shape[1])))
        return tf.reshape(model.distortion.excess(x_hat, moved), (-1, len(moves)))

    return _scale(model) / step**2 * _in_blocks(model, len(z), len(moves), excess)


def traversals(model: Autoencoder, rows: Any, dimensions: int = 9, steps: int = 9, span: float = 2.0) -> tf.Tensor:
    """What the decoder makes of the mean latent moved along each of `latent_axes`, the others left at their mean.

    Source: Kato et al., ICML 2020, Fig. 6.

    Args:
        model: fitted.
        rows: raw rows, for mean and standard deviations.
        dimensions: how many axes, from that of the largest variance on; all of them where there are fewer.
        steps: points on each axis, evenly from -span to +span.
        span: in standard deviations of z along the axis.

    Returns:
        (dimensions, steps, *event), in the preprocessed space.

    Raises:
        ValueError: dimensions or steps below 1.
    """
    _require_positive(dimensions=dimensions, steps=steps)
    mean, axes, variance = latent_axes(model, rows)
    moves = np.sqrt(variance)[:, None] * axes
    z = mean + np.linspace(-span, span, steps)[:, None] * moves[:dimensions, None]
    x_hat = model.decode(z.reshape(-1, len(mean)).astype(np.float32))
    return tf.reshape(x_hat, (*z.shape[:2], *x_hat.shape[1:]))


def isometry_gap(model: Autoencoder, rows: Any) -> tf.Tensor:
    """log_density by the Jacobian minus log_density by the theory's volume, (B,), nats: 0 is right.

    Raises:
        NotImplementedError: one of the two is not defined, with the reason.
    """
    return model.log_density(rows, volume="jacobian") - model.log_density(rows, volume="isometric")


class IsometryReport(NamedTuple):
    """Everything that this module measures, as plain numbers; `str` of it is a certificate to read."""

    model: str  # its class
    rows: int  # behind the spectrum and the tangent pairs
    jacobian_rows: int  # behind the Gram matrices, the response and the gap
    pairs: int
    metric_scale: float  # of the loss, or fitted so that gram_diagonal_mean is 1
    scale_is_fitted: bool
    latent_units: int  # N
    informative_dimensions: int  # n, or 0 where `fit` judged none and all N are measured
    tangent_r: float  # Pearson r of the tangent pairs
    tangent_slope: float  # of the least-squares line through 0, data on latent
    gram_diagonal_mean: float
    gram_diagonal_sd: float
    gram_offdiagonal_mean: float | None  # of |G_ij| / sqrt(G_ii G_jj), i != j; None where n is 1
    gram_offdiagonal_max: float | None
    spectrum: np.ndarray  # (n,), as `latent_spectrum`
    cumulative_share: np.ndarray
    response_step: float  # in units of z
    response_mean: np.ndarray  # (n,), of `response` in the order of the spectrum
    response_sd: np.ndarray
    gap_mean: float | None  # of `isometry_gap`, nats; None where it is not defined
    gap_sd: float | None
    gap_median_absolute: float | None
    gap_obstacle: str | None  # why it is not

    @property
    def verdict(self) -> str:
        """One line, with the thresholds it rests on."""
        straight, right = f"Pearson r >= {LEAST_PEARSON_R}", f"slope 1 +- {MOST_SLOPE_ERROR}"
        if not self.tangent_r >= LEAST_PEARSON_R:
            return f"not isometric, which takes {straight}"
        if self.scale_is_fitted:
            return f"isometric up to a scale: {straight}; the loss does not fix the scale"
        if not abs(self.tangent_slope - 1) <= MOST_SLOPE_ERROR:
            return f"isometric up to a scale: {straight}, but not {right}"
        return f"isometric: {straight} and {right}"

    def to_dict(self) -> dict[str, Any]:
        """The numbers and the verdict as JSON types; None for those that are not finite."""
        return {name: _plain(value) for name, value in (*self._asdict().items(), ("verdict", self.verdict))}

    def __str__(self) -> str:
        unjudged = "" if self.informative_dimensions else ", not judged: all are measured"
        most = int(np.searchsorted(self.cumulative_share, 0.95)) + 1
        table = [
            ("", "found", "right", ""),
            ("metric scale", self.metric_scale, "", f"z^2 / D, {'fitted' if self.scale_is_fitted else 'of the loss'}"),
            ("informative dimensions", self.informative_dimensions, "", f"of {self.latent_units}{unjudged}"),
            ("tangent pairs, Pearson r", self.tangent_r, 1, ""),
            ("tangent pairs, slope", self.tangent_slope, 1, "z^2 / z^2"),
            ("Gram diagonal, mean", self.gram_diagonal_mean, 1, "by the fit" if self.scale_is_fitted else ""),
            ("Gram diagonal, sd", self.gram_diagonal_sd, 0, ""),
            ("Gram off-diagonal, mean |cosine|", self.gram_offdiagonal_mean, 0, ""),
            ("Gram off-diagonal, greatest", self.gram_offdiagonal_max, 0, ""),
            ("response, least dimension", self.response_mean.min(), 1, f"at a step of {self.response_step:.4g} z"),
            ("response, greatest dimension", self.response_mean.max(), 1, ""),
            ("latent variance, greatest", self.spectrum[0], "", "z^2"),
            ("dimensions that hold 95 % of it", min(most, len(self.spectrum)), "", f"of {len(self.spectrum)}"),
            ("isometry gap, mean", self.gap_mean, 0, "nats"),
            ("isometry gap, sd", self.gap_sd, 0, "nats"),
            ("isometry gap, median absolute", self.gap_median_absolute, 0, "nats"),
        ]
        lines = [f"{self.model}: {self.rows} rows, Jacobians at {self.jacobian_rows}, {self.pairs} tangent pairs"]
        for name, value, right, unit in table:
            if value is not None:
                found = value if isinstance(value, str) else f"{value:.4g}"
                lines.append(f"{name:33} {found:>9} {right:>6}  {unit}".rstrip())
        if self.gap_obstacle:
            lines.append(f"isometry gap: none, {self.gap_obstacle}")
        return "\n".join([*lines, f"verdict: {self.verdict}"])


def isometry_report(
    model: Autoencoder, rows: Any, pairs: int = 1000, seed: int = 0, jacobian_rows: int = 512
) -> IsometryReport:
    """All measurements of this module on one set of rows.

    Args:
        model: fitted.
        rows: raw rows, best held out.
        pairs: of tangent vectors.
        seed: of the pairs and of the rows drawn.
        jacobian_rows: most rows, drawn at random, behind Gram matrices, response and gap.

    Raises:
        ValueError: pairs or jacobian_rows below 1.
    """
    _require_positive(pairs=pairs, jacobian_rows=jacobian_rows)
    rows = pd.DataFrame(rows) if isinstance(rows, dict) else rows
    _, axes, variance = latent_axes(model, rows)
    drawn = np.random.default_rng(seed).permutation(len(rows))[:jacobian_rows]
    some = rows.iloc[drawn] if isinstance(rows, pd.DataFrame) else np.asarray(rows)[drawn]
    step = _noise_step(model, variance)
    latent, data = tangent_pairs(model, rows, pairs, seed)
    gram = gram_matrices(model, some).numpy().astype(np.float64)
    responses = response(model, some, step, axes).numpy().astype(np.float64)
    try:
        gap = isometry_gap(model, some).numpy().astype(np.float64)
        gaps, obstacle = (float(gap.mean()), float(gap.std()), float(np.median(np.abs(gap)))), None
    except NotImplementedError as error:
        gaps, obstacle = (None, None, None), str(error)
    scale = model.metric_scale
    with np.errstate(divide="ignore", invalid="ignore"):  # a decoder that answers nothing has no r and no cosines
        if scale is None:
            scale = float(1 / np.diagonal(gram, axis1=1, axis2=2).mean())
            data, gram, responses = scale * data, scale * gram, scale * responses
        diagonal = np.diagonal(gram, axis1=1, axis2=2)
        cosines = np.abs(gram) / np.sqrt(diagonal[:, :, None] * diagonal[:, None, :])
        cosines = cosines[:, ~np.eye(len(axes), dtype=bool)]
        tangent_r = float(np.corrcoef(latent, data)[0, 1])
    return IsometryReport(
        model=type(model).__name__,
        rows=len(rows),
        jacobian_rows=len(drawn),
        pairs=pairs,
        metric_scale=scale,
        scale_is_fitted=model.metric_scale is None,
        latent_units=axes.shape[1],
        informative_dimensions=model.informative_dimensions,
        tangent_r=tangent_r,
        tangent_slope=float(latent @ data / (latent @ latent)),
        gram_diagonal_mean=float(diagonal.mean()),
        gram_diagonal_sd=float(diagonal.std()),
        gram_offdiagonal_mean=float(cosines.mean()) if cosines.size else None,
        gram_offdiagonal_max=float(cosines.max()) if cosines.size else None,
        spectrum=variance,
        cumulative_share=_cumulative_share(variance),
        response_step=step,
        response_mean=responses.mean(axis=0),
        response_sd=responses.std(axis=0),
        **dict(zip(("gap_mean", "gap_sd", "gap_median_absolute"), gaps)),
        gap_obstacle=obstacle,
    )


def _latents(model: Autoencoder, rows: Any) -> tf.Tensor:
    model._require_adapted()
    rows = pd.DataFrame(rows) if isinstance(rows, dict) else rows
    size = geometry.block_rows(_elements(model), 1)
    blocks = range(0, max(len(rows), 1), size)
    checked = (model.preprocess.check(rows[i : i + size], i) for i in blocks)
    return tf.concat([model._encode(model.preprocess(block)) for block in checked], axis=0)


def _elements(model: Autoencoder) -> int:
    """Elements of one x_hat."""
    return int(tf.size(model._decode(tf.zeros((1, model.encoder.output_units)))))


def _in_blocks(model: Autoencoder, rows: int, vectors: int, measure: Callable[[slice], tf.Tensor]) -> tf.Tensor:
    """`measure` of slices of so many rows that leave room for this many vectors at each, concatenated."""
    size = geometry.block_rows(_elements(model), vectors)
    return tf.concat([measure(slice(i, i + size)) for i in range(0, rows, size)], axis=0)


def _directions(model: Autoencoder) -> tf.Tensor:
    return model.informative_directions if model.informative_dimensions else tf.eye(model.encoder.output_units)


def _scale(model: Autoencoder) -> float:
    return 1.0 if model.metric_scale is None else model.metric_scale


def _noise_step(model: Autoencoder, variance: np.ndarray) -> float:
    return 0.1 * math.sqrt(variance.mean()) if model.metric_scale is None else math.sqrt(model.noise_variance)


def _cumulative_share(variance: np.ndarray) -> np.ndarray:
    return np.cumsum(variance) / max(variance.sum(), np.finfo(np.float64).tiny)


def _require_positive(**counts: int) -> None:
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{name}: {value} must be at least 1.")


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_plain(v) for v in value.tolist()]
    return None if isinstance(value, float) and not math.isfinite(value) else value
