"""Anomaly detection on tables as a scikit-learn estimator."""

import sys

from tf_radogaga.detector import densities, isometric_latent
from tf_radogaga.detector.estimator import AnomalyDetector

__all__ = ["AnomalyDetector"]

# pickles of detectors of version 0.1 name these modules as they were called then
sys.modules.setdefault("tf_radogaga.latent_densities", densities)
sys.modules.setdefault("tf_radogaga.isometric_latent", isometric_latent)
