"""Measurements of speed."""

from __future__ import annotations

import torch


def wait(device: str) -> None:
    """Wait until a GPU has done what it was given."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
