"""SavedModels for TF Serving and for any process that has TensorFlow alone.

    python -m tf_radogaga.serving check DIR

`export` writes a version, `signatures` are what it offers, `card` describes it, `warmup` holds requests of which a
server makes the first, and `check` verifies all of it and the ops in its graph.
"""

from tf_radogaga.serving.card import data_hash
from tf_radogaga.serving.check import check_export, check_ops
from tf_radogaga.serving.export import export_saved_model

__all__ = ["check_export", "check_ops", "data_hash", "export_saved_model"]
