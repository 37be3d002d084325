"""Deep detectors of pyod on the rows of one run: what `baselines.py` starts in the environment that has torch.

    .venv-peers/bin/python trainers/reproduce/peers.py pyod-vae 0 FOLDER

FOLDER/rows.npz holds `train` and `test`; the scores of `test` (higher is more anomalous) come out as FOLDER/scores.npy.
Everything is pyod's default, its standardisation included; set are the seed, silence, and the width that DeepSVDD asks.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from pyod.models.auto_encoder import AutoEncoder
from pyod.models.deep_svdd import DeepSVDD
from pyod.models.vae import VAE

DETECTORS = {
    "pyod-autoencoder": lambda width, **shared: AutoEncoder(**shared),
    "pyod-deep-svdd": lambda width, **shared: DeepSVDD(width, **shared),
    "pyod-vae": lambda width, **shared: VAE(**shared),
}


def main(name: str, seed: str, folder: str) -> None:
    rows = np.load(Path(folder) / "rows.npz")
    np.random.seed(int(seed))  # DeepSVDD shuffles by this one
    detector = DETECTORS[name](rows["train"].shape[1], random_state=int(seed), verbose=0).fit(rows["train"])
    np.save(Path(folder) / "scores.npy", detector.decision_function(rows["test"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
