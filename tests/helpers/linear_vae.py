"""The linear beta-VAE at its closed-form optimum."""

import numpy as np

from tf_radogaga import (
    BetaVAE,
    DenseNetwork,
)

BETA = 0.02
SD = np.array([2.0, 1.0, 0.5])


def optimum(sd=SD, beta=BETA, width=5, idle=0, **options):
    """The linear VAE at the optimum of the closed form, for Gaussian rows of these deviations; also the rows.

    b = sqrt(s^2 - beta/2), mu = b x / s^2, sigma^2 = beta / (2 s^2) in each of the directions of an orthonormal basis.
    """
    rng = np.random.default_rng(0)
    count = len(sd)
    basis = np.linalg.qr(rng.normal(size=(width, width)))[0][:count]
    rows = (rng.normal(size=(400, count)) * sd) @ basis
    weights = options or {"beta": beta}
    units = count + idle
    model = BetaVAE(DenseNetwork(width, (), 2 * units), DenseNetwork(units, (), width), **weights)
    b = np.sqrt(sd**2 - beta / 2)
    pad = np.zeros((idle, width))
    model.decoder.dense[0].kernel.assign(np.vstack([b[:, None] * basis, pad]))
    means = np.vstack([basis * (b / sd**2)[:, None], pad]).T
    model.encoder.dense[0].kernel.assign(np.hstack([means, np.zeros((width, units))]))
    log_variance = np.r_[np.log(beta / (2 * sd**2)), np.zeros(idle)]
    model.encoder.dense[0].bias.assign(np.r_[np.zeros(units), log_variance])
    model.adapt_prior(rows)
    return model, rows.astype(np.float32)
