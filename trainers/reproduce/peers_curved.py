"""A spline flow of zuko, and UMAP, on the rows of one run: what `curved_methods.py` starts in the peers' environment.

    .venv-peers/bin/python trainers/reproduce/peers_curved.py spline-flow 0 FOLDER

FOLDER/given.npz holds what the method takes, FOLDER/found.npz what it finds of the rows `test`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

BATCH, RATE = 256, 2e-3
TRANSFORMS, HIDDEN, BINS = 3, (64, 64), 8
"""Of the flow: layers, their networks, and the knots of each spline."""


def spline_flow(given: Mapping[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """log density (n,) of `test`, in nats. Each batch of `train` gets fresh normal noise of deviation `noise`."""
    import torch
    import zuko

    torch.manual_seed(seed)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 0)) or torch.get_num_threads())
    train, test = (torch.tensor(given[name], dtype=torch.float32) for name in ("train", "test"))
    steps, noise = int(given["steps"]), float(given["noise"])
    flow = zuko.flows.NSF(train.shape[1], transforms=TRANSFORMS, bins=BINS, hidden_features=HIDDEN)
    optimizer = torch.optim.Adam(flow.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        x = train[torch.randint(len(train), (BATCH,))]
        loss = -flow().log_prob(x + noise * torch.randn_like(x)).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(flow.parameters(), 10.0)
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return {"log_density": flow().log_prob(test).double().numpy()}


def umap(given: Mapping[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """latent (n, N) of `test`; everything but N and the seed is UMAP's default."""
    from umap import UMAP

    return {
        "latent": UMAP(n_components=int(given["units"]), random_state=seed).fit(given["train"]).transform(given["test"])
    }


METHODS: dict[str, Callable] = {"spline-flow": spline_flow, "umap": umap}


def main(name: str, seed: str, folder: str) -> None:
    found = METHODS[name](dict(np.load(Path(folder) / "given.npz")), int(seed))
    np.savez(Path(folder) / "found.npz", **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
