"""Records of runs: where and on what they ran, files that survive a restart, tables."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import skorch
import torch
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

import skdeepclust
from skdeepclust._files import written
from skdeepclust.metrics import clustering_accuracy_score

RESULTS = Path(__file__).parent / "results"


def processor() -> str:
    """Return the processor's name."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def commit() -> str | None:
    """Return the commit of the code, "-dirty" if it was changed since; None without git."""
    code = ["skdeepclust", "benchmarks", ":!benchmarks/results"]

    def git(*words: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent.parent), *words]
        found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        return found.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", *code)
        return git("rev-parse", "--short", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


def environment(device: str | torch.device = "cpu") -> dict[str, Any]:
    """Return the machine and the versions, for the record."""
    device = torch.device(device)
    return {
        "machine": torch.cuda.get_device_name(device) if device.type == "cuda" else processor(),
        "n_cpus": os.cpu_count(),
        "n_threads": torch.get_num_threads(),
        "device": device.type,
        "shared": os.environ.get("BENCHMARKS_SHARED") == "1",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "skorch": skorch.__version__,
        "scikit-learn": sklearn.__version__,
        "numpy": np.__version__,
        "skdeepclust": skdeepclust.__version__,
        "commit": commit(),
        "date": datetime.now(timezone.utc).date().isoformat(),
    }


def default_device() -> str:
    """Return "cuda" where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def metrics(y: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return ACC, NMI and ARI."""
    return {
        "acc": clustering_accuracy_score(y, labels),
        "nmi": float(normalized_mutual_info_score(y, labels)),
        "ari": float(adjusted_rand_score(y, labels)),
    }


def digits(*, unequal: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return scikit-learn's digits; `unequal`: classes thinned out to 1.0 down to 0.2."""
    data = load_digits()
    images, y = data.images, data.target
    if unequal:
        kept = [
            np.flatnonzero(y == digit)[: round(share * np.count_nonzero(y == digit))]
            for digit, share in enumerate(np.linspace(1, 0.2, 10))
        ]
        order = np.sort(np.concatenate(kept))
        images, y = images[order], y[order]
    return images, y


def usps(data_home: Path | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return all 9,298 images of USPS, of 16 x 16, in [0, 1]: usps/usps.h5 of the data home."""
    import h5py

    path = Path(data_home or ".") / "usps" / "usps.h5"
    if not path.exists():
        raise FileNotFoundError(
            f"{path} isn't there. It is the HDF5 file of USPS that is passed around, with groups "
            "train (7,291 images) and test (2,007) of data in [0, 1] and target, and an MD5 sum of "
            "355df6b942eb766252e0340bc019b0b9; --data-home names the folder above usps."
        )
    with h5py.File(path) as file:
        parts = [[file[part][what][:] for part in ("train", "test")] for what in ("data", "target")]
    images, labels = (np.concatenate(part) for part in parts)
    return images.reshape(-1, 16, 16).astype(np.float32), labels.astype(np.int64)


def save(path: Path, result: dict[str, Any]) -> None:
    """Write a result as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written(path) as partial:
        partial.write_text(json.dumps(result, indent=1, default=str) + "\n")


def read(path: Path) -> dict[str, Any]:
    """Return the record of a run in one of the tables, those of the former scripts too."""
    record = json.loads(path.read_text())
    before = dict(record)  # all at the top
    record.setdefault("table", path.parent.name)
    record.setdefault("row", record.get("method", record.get("setting")))
    record.setdefault("data", "digits-unequal" if record.get("unequal") else "digits")
    record.setdefault("n_samples", 1080 if record["data"] == "digits-unequal" else 1797)
    record.setdefault("n_test", 0)
    record.setdefault("precision", "float32")
    record.setdefault("set", {})
    record.setdefault("options", before | before.get("plan", before.get("parameters", {})))
    record.setdefault("scores", before)
    record.setdefault("seconds", None)
    record["name"] = path.stem
    return record


def curve(record: dict[str, Any], name: str) -> list[float]:
    """Return a column of the history of all phases, one value an epoch."""
    history = record.get("history") or {}
    if isinstance(history.get(name), list):  # of the former scripts
        return history[name]
    return [v for phase in history.values() if isinstance(phase, dict) for v in phase.get(name, [])]


def n_epochs(record: dict[str, Any]) -> int:
    """Return how many epochs a run took, 0 if the record doesn't say."""
    restarts = record.get("restarts") or []
    return len(curve(record, "train_loss")) or sum(r["n_epochs"] for r in restarts)


def mean_std(values: Iterable[float]) -> str:
    """Return the mean and the standard deviation as a table shows them."""
    values = np.asarray(list(values), dtype=float)
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{values.mean():.3f} ± {values.std(ddof=1):.3f}"


def table(header: list[str], rows: Iterable[list[Any]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def place(record: dict[str, Any]) -> str:
    """Return what a run ran on."""
    e = record["environment"]
    return e["machine"] if e["device"] == "cuda" else f"{e['machine']}, {e['n_threads']} threads"


def machine(record: dict[str, Any]) -> str:
    """Return what a run ran on, and whether other runs did so at the time."""
    return place(record) + (", shared" if record["environment"].get("shared") else "")


def described(result: dict[str, Any]) -> str:
    """Return the machine and versions of a result in one line."""
    e = result["environment"]
    names = ("skdeepclust", "commit", "torch", "skorch", "scikit-learn")
    versions = ", ".join(f"{name} {e[name]}" for name in names if e.get(name))
    return f"{machine(result)}; Python {e['python']}, {versions}; {e['date']}"


def flat(estimator: Any) -> Pipeline:
    """Return an estimator of samples of any shape, as it sees flat ones."""
    return make_pipeline(FunctionTransformer(lambda X: X.reshape(len(X), -1) / 1.0), estimator)


def k_means(n_clusters: int) -> Pipeline:
    """Return k-means on samples of any shape."""
    return flat(KMeans(n_clusters, n_init=10))
