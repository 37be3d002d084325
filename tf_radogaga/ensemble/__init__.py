"""Many models of one structure, trained in one graph."""

from tf_radogaga.ensemble.joint_training import fit_together, mean_energy, mean_log_density

__all__ = ["fit_together", "mean_energy", "mean_log_density"]
