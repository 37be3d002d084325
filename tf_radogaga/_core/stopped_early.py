"""Gaussian mixtures of scikit-learn whose EM may stop before it converges, without a warning.

Filters of warnings belong to the whole process: to set them for as long as a fit takes would change what other threads
are told, and two fits that overlap would restore one another's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.mixture import GaussianMixture


class _Untold(GaussianMixture):
    converged_ = property(lambda self: True, lambda self, found: vars(self).update(converged_=found))
    """True to scikit-learn, which warns where it is not; the truth is in `__dict__`."""


def gaussian_mixture(rows: np.ndarray, n_components: int, **options: Any) -> GaussianMixture:
    """What `GaussianMixture(n_components, **options).fit(rows)` is, (n, N) float64, whether or not it converged."""
    fitted = GaussianMixture(n_components, **options)
    vars(fitted).update(vars(_Untold(n_components, **options).fit(rows)))
    return fitted
