"""One model on two processes; this file is also the script that they run."""

import contextlib
import io
import os
import pickle
import socket
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch
from joblib import Parallel, delayed
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import Callback

from skdeepclust import (
    ADCClustering,
    AutoencoderClustering,
    DCNClustering,
    DeepClusterClustering,
    DeepClustering,
    IDECClustering,
    IICClustering,
    IMSATClustering,
    MCDCClustering,
    ProFeatClustering,
    RIMClustering,
    SCANClustering,
    SimCLR,
    SparseAutoencoderClustering,
    STDACClustering,
    TEMIClustering,
    TripletClustering,
    TURTLEClustering,
    _distributed,
    kmeans,
)
from skdeepclust._training import _checkpoint
from skdeepclust.inference import forward_in_slices
from skdeepclust.networks import DenseEncoder, VGGEncoder

torch.set_num_threads(1)
more_images = load_digits().images[:151]  # the last batch has an odd number
images = more_images[:87]  # here too
BATCH_SIZE = 32  # of each of two processes
DEVICE = os.environ.get("TEST_DEVICE", "cpu")  # of test_gpu.py "cuda"
PLAIN = {"augmentation": None, "random_state": 0, "optimizer": torch.optim.SGD, "lr": 1e-2}
SHORT = {"n_clusters": 4, "n_init": 1, "max_epochs": 2}
# without spatial transformers, whose gradient jumps where they begin
ENCODER = partial(VGGEncoder, n_st_layers=0, hidden_size=32, dropout=0.0)
DRAWING = partial(VGGEncoder, hidden_size=32)  # with dropout, and with spatial transformers


def cases(batch_size):
    """Return estimators whose training draws nothing but what all processes draw alike."""
    given = {"batch_size": batch_size, "device": DEVICE, **PLAIN}
    clusterer = {**given, **SHORT}
    simclr = {"max_epochs": 2, "network": ENCODER, **given}
    pretrained = AutoencoderClustering(4, max_epochs=1, **given)
    latents = {**clusterer, "kmeans_n_init": 5}
    scan = {
        "representation": SimCLR(**simclr),
        "strong_augmentation": None,
        "self_label_epochs": 1,
        "self_label_batch_size": batch_size,
        "self_label_lr": 1e-3,
        "confidence": 0.3,
        **{name: value for name, value in clusterer.items() if name != "augmentation"},
        "lr": 1e-3,
    }
    return {
        "auto-encoder": AutoencoderClustering(
            **{**latents, "lr": 1e-3, "optimizer": torch.optim.Adam}
        ),
        "IDEC": IDECClustering(**latents, tol=0, autoencoder=pretrained),
        "DCN": DCNClustering(**latents, autoencoder=pretrained),
        "SAE": SparseAutoencoderClustering(**latents),
        "MCDC": MCDCClustering(**latents),
        "ST-DAC": STDACClustering(
            **{**clusterer, "lr": 1e-3, "network": ENCODER, "mi_weight": 0.1, "chunk_size": 100}
        ),
        "ST-DAC of tables": STDACClustering(
            **clusterer, network=partial(DenseEncoder, hidden_sizes=(32,)), init="kmeans"
        ),
        "SimCLR": SimCLR(**simclr),
        "SCAN": SCANClustering(**scan),
        "ProFeat": ProFeatClustering(
            **scan, n_rounds=2, refinement_epochs=1, refinement_lr=1e-2, confident_only=False
        ),
        "IMSAT": IMSATClustering(
            **{k: v for k, v in clusterer.items() if k != "augmentation"},
            perturbation="rpt",
            mi_weight=10.0,
        ),
        "RIM": RIMClustering(
            **{k: v for k, v in clusterer.items() if k not in ("augmentation", "lr")},
            init="random",
            lr=1.0,
        ),
        "IIC": IICClustering(**clusterer),
        "IIC, unlike sizes": IICClustering(**clusterer, class_prior="estimate"),
        "DeepClustering": DeepClustering(**clusterer),
        "DeepCluster": DeepClusterClustering(**latents),
        "triplets": TripletClustering(**latents),
        "ADC": ADCClustering(**{**clusterer, "lr": 1e-3}, warmup_epochs=1),  # steep
        "TEMI": TEMIClustering(**{k: v for k, v in clusterer.items() if k != "augmentation"}),
        "TURTLE": TURTLEClustering(
            **{k: v for k, v in clusterer.items() if k != "augmentation"}, n_inner_steps=2
        ),
    }


def data_of(name):
    # Of fewer, weights that differ by 1e-7 change DeepClustering's loss by 1e-4; ADC hardly moves.
    if name in ("DeepClustering", "ADC"):
        return more_images
    return images.reshape(len(images), -1) if name == "ST-DAC of tables" else images


def rand(n, *shape, **_):
    """Stand in for torch.rand: the same for a sample, whatever the share that it is in."""
    processes = _distributed.current()
    total = n if processes is None else processes.n_samples
    return _distributed.own_share(torch.linspace(0, 1, total))[:, None]


def first_neighbor(neighbors, index):
    return neighbors[index, 0]


@contextlib.contextmanager
def no_draws():
    """What is drawn for a sample is the same, whatever the share that it is in."""
    module = "skdeepclust.cluster"
    with (
        mock.patch(f"{module}._mcdc.torch", SimpleNamespace(rand=rand, cat=torch.cat)),
        mock.patch(f"{module}._scan.draw_neighbors", first_neighbor),
        mock.patch(f"{module}._deep.draw_neighbors", first_neighbor),
        mock.patch(f"{module}._temi.draw_neighbors", first_neighbor),
        mock.patch("torch.randn_like", torch.zeros_like),  # of IMSAT
    ):
        yield


def fitted(name, estimator):
    with no_draws(), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(data_of(name))


class At(Callback):
    """Calls a function of the net at the end of an epoch."""

    def __init__(self, epoch, function):
        self.epoch = epoch
        self.function = function

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == self.epoch:
            self.function(net)


def small(**changed):
    parameters = {**SHORT, "max_epochs": 3, "network": ENCODER, "batch_size": 32}
    parameters["device"] = DEVICE
    return STDACClustering(**{**parameters, "random_state": 0, **changed})


def error_of(estimator, X=images):
    try:
        estimator.fit(X)
    except (ValueError, RuntimeError, FloatingPointError) as error:
        return error
    return None


drawn = []


def noisy(x):
    """An augmentation that notes what it drew."""
    noise = torch.randn_like(x)
    drawn.append(noise.flatten()[0].item())
    return x + 0.1 * noise


def worsen(net):
    if int(os.environ["RANK"]) == 1:
        with torch.no_grad():
            next(net.module_.parameters()).add_(1)


def fail(net):
    raise RuntimeError("stopped")


def shared_work():
    """Do what all processes need to know, and note what of it this one has done."""
    points = torch.from_numpy(more_images.reshape(len(more_images), -1)).float()
    n_starts, n_slices = [], []

    def solve(problem, starts, *args):
        n_starts.append(len(starts))
        return own_solve(problem, starts, *args)

    def function(x):
        n_slices.append(1)
        return x.square()

    own_solve = kmeans._Problem.solve
    with _distributed.joined(), mock.patch.object(kmeans._Problem, "solve", solve):
        generator = torch.Generator().manual_seed(0)
        result = kmeans.k_means(points, 10, n_init=5, random_state=generator)
        squares = forward_in_slices(function, points)
        few = forward_in_slices(function, points[:3])
    return *result, squares.clone(), few.clone(), sum(n_starts), sum(n_slices)


def work(folder):
    """Do in each of torchrun's processes all that the tests look at."""
    rank = int(os.environ["RANK"])
    warnings.simplefilter("ignore", ConvergenceWarning)
    results = {name: fitted(name, model) for name, model in cases(BATCH_SIZE).items()}
    results["other random states"] = small(random_state=None, n_init=2).fit(images)
    results["whole"] = small(augmentation=noisy, network=DRAWING).fit(images)
    results["noise"] = list(drawn)
    _checkpoint.CHECKPOINT_SECONDS = 0.0
    path = folder / "checkpoint"
    stopped = small(augmentation=noisy, network=DRAWING, checkpoint=path, callbacks=[At(2, fail)])
    results["stopped"] = error_of(stopped)
    results["files"] = sorted(p.name for p in folder.glob("checkpoint*"))
    stopped.set_params(callbacks=None)
    results["resumed"] = stopped.fit(images)
    with contextlib.redirect_stderr(io.StringIO()) as shown:
        results["bf16"] = small(precision="bf16", verbose=1, max_epochs=1).fit(images)
    results["shown"] = shown.getvalue()
    results["other data"] = error_of(small(), images[: len(images) - rank])
    results["other parameters"] = error_of(small(lr=0.1 * (rank + 1)))
    results["too few"] = error_of(SimCLR(batch_size=2, device=DEVICE), images[:1])
    results["not finite"] = error_of(small(lr=1e30, optimizer=torch.optim.SGD))
    results["other weights"] = error_of(small(callbacks=[At(2, worsen)]))
    if rank == 0:
        results["in joblib's workers"] = Parallel(n_jobs=2)(delayed(count)() for _ in range(2))
    results["shared"] = shared_work()
    (folder / f"{rank}.pickle").write_bytes(pickle.dumps(results))


def count():
    with _distributed.joined():
        return _distributed.n_processes()


def environment():
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    own = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    return {**os.environ, **own}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What two processes of torchrun got: a dict for each."""
    return run(tmp_path_factory.mktemp("two"), "cpu")


def run(folder, device):
    env = {**environment(), "TEST_DEVICE": device}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run([*command, __file__, str(folder)], check=True, env=env, timeout=600)
    return [pickle.loads((folder / f"{rank}.pickle").read_bytes()) for rank in range(2)]


def weights(model):
    return {name: value.numpy() for name, value in model.network_.state_dict().items()}


def assert_same_fit(first, second, X=images):
    for name, value in weights(first).items():
        np.testing.assert_array_equal(value, weights(second)[name], err_msg=name)
    assert first.history_[:, "train_loss"] == second.history_[:, "train_loss"]
    if hasattr(first, "labels_"):
        np.testing.assert_array_equal(first.labels_, second.labels_)
        np.testing.assert_array_equal(first.merge_tree_, second.merge_tree_)
        np.testing.assert_array_equal(first.predict(X), second.labels_)


@pytest.mark.parametrize("name", cases(BATCH_SIZE))
def test_two_processes_do_what_one_does_with_twice_the_batch(results, name):
    together = results[0][name]
    alone = fitted(name, cases(2 * BATCH_SIZE)[name])
    losses = alone.history_[:, "train_loss"]
    rtol, share = 1e-4, 0.01
    if name == "ProFeat":  # it takes the labels of a round for the next
        rtol = 0.02
    elif name == "ST-DAC" and torch.__version__.startswith("2.4."):  # off by 3e-4 and 0.03 there
        rtol, share = 1e-3, 0.05
    np.testing.assert_allclose(together.history_[:, "train_loss"], losses, rtol=rtol)
    modules = [[type(m) for m in one.network_.modules()] for one in (together, alone)]
    assert modules[0] == modules[1]
    if name in ("ProFeat", "ST-DAC of tables"):  # Adam moves a bias before batch norm by rounding
        return
    standing = cases(2 * BATCH_SIZE)[name]
    rates = [name for name in standing.get_params() if name.split("__")[-1].endswith("lr")]
    standing = fitted(name, standing.set_params(**dict.fromkeys(rates, 1e-30)))
    start, ends = weights(standing), [weights(one) for one in (together, alone)]
    for key in start:
        before, found, expected = (np.nan_to_num(1.0 * of[key]) for of in (start, *ends))
        moved, difference = np.abs(expected - before).max(), np.abs(found - expected).max()
        assert difference < share * moved + 1e-5, key


@pytest.mark.parametrize("name", [*cases(BATCH_SIZE), "other random states", "whole", "bf16"])
def test_the_processes_end_with_the_same_estimator(results, name):
    assert_same_fit(*(of_one[name] for of_one in results), data_of(name))


def test_the_processes_share_starts_of_k_means_and_predictions(results):
    expected = shared_work()
    assert expected[-2:] == (5, 3)
    assert [of_one["shared"][-2:] for of_one in results] == [(2, 2), (3, 2)]
    for of_one in results:
        for found, same in zip(of_one["shared"][:-2], expected[:-2], strict=True):
            torch.testing.assert_close(found, same)


def test_each_process_draws_its_own_augmentation(results):
    first, second = (of_one["noise"][1:] for of_one in results)  # one is for validation
    assert len(first) == len(second)
    assert not set(first) & set(second)
    assert len(set(first)) == len(first)


def test_a_fit_goes_on_from_the_checkpoint_of_the_first_process(results):
    for of_one in results:
        assert str(of_one["stopped"]) == "stopped"
        assert of_one["files"] == ["checkpoint"]
        assert_same_fit(of_one["resumed"], of_one["whole"])


def test_the_first_process_shows_the_bar(results):
    assert "epoch 1/1" in results[0]["shown"]
    assert not results[1]["shown"]


def test_errors_are_those_of_all_processes(results):
    for of_one in results:
        for name in ("other data", "other parameters"):
            assert isinstance(of_one[name], ValueError)
            assert "must be the same in each of the 2 processes" in str(of_one[name])
        assert isinstance(of_one["too few"], ValueError)
        assert "sample" in str(of_one["too few"])
        assert isinstance(of_one["not finite"], FloatingPointError)
        assert isinstance(of_one["other weights"], RuntimeError)
        assert "are not the same" in str(of_one["other weights"])


def test_workers_of_a_process_train_alone(results):
    assert results[0]["in joblib's workers"] == [1, 1]


def die(net):
    if int(os.environ["RANK"]) == 1:
        os._exit(3)


def test_a_process_that_dies_ends_the_other():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = []
    for rank in range(2):
        own = {"RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        env = {**environment(), **{name: str(value) for name, value in own.items()}}
        command = [sys.executable, __file__]
        processes.append(subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True))
    _, error = processes[0].communicate(timeout=120)
    processes[1].communicate(timeout=120)
    assert [process.returncode for process in processes] == [1, 3]
    assert "RuntimeError: process 0 of 2 (counted from 0) lost the others" in error


@pytest.fixture
def group(monkeypatch):
    """A group of one process, that exchanges all the same."""
    torch.distributed.init_process_group(
        "gloo", store=torch.distributed.HashStore(), rank=0, world_size=1
    )
    monkeypatch.setattr(_distributed, "_current", _distributed.Processes(0, 1))
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("tracks", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_batch_norm_is_that_of_torch(group, affine, tracks, dtype):
    results = []
    modes = [contextlib.nullcontext(), _distributed.SynchronizedBatchNorm()]
    for mode, own_dtype in zip(modes, (torch.float32, dtype), strict=True):
        torch.manual_seed(0)
        norm = torch.nn.BatchNorm2d(3, affine=affine, track_running_stats=tracks)
        x = (2 + torch.rand(5, 3, 4, 4)).to(dtype).to(own_dtype).requires_grad_()
        with mode:
            y = norm(x)
        y.float().sin().sum().backward()
        results.append([y, x.grad, *(p.grad for p in norm.parameters()), *norm.buffers()])
        norm.eval()
        with mode:
            results[-1].append(norm(x))
    tolerance = 0.1 if dtype == torch.bfloat16 else 1e-4
    for own, expected in zip(*results[::-1], strict=True):
        torch.testing.assert_close(own.float(), expected.float(), rtol=tolerance, atol=tolerance)


def test_rows_to_gather_are_those_of_the_share(group):
    _distributed.current().take_share((torch.zeros(3, 2), torch.arange(3)))
    torch.testing.assert_close(_distributed.gather(torch.ones(2, 3), 1), torch.ones(2, 3))
    with pytest.raises(ValueError, match="a row for each of the batch's 3 samples"):
        _distributed.gather(torch.ones(2, 3))


def test_predictions_of_blocks_with_dask(images):
    import dask.array as da  # not in each of the processes

    model = small(max_epochs=1).fit(images)
    X = da.from_array(images, chunks=(67, -1, -1))
    labels = X.map_blocks(model.predict, dtype="int64", drop_axis=[1, 2], meta=np.empty(0, "int64"))
    np.testing.assert_array_equal(labels.compute(), model.predict(images))


def test_one_process_gathers_nothing():
    x = torch.rand(3, 2)
    assert _distributed.gather(x) is x
    assert _distributed.own_share(x) is x
    assert _distributed.current() is None


if __name__ == "__main__":
    from test_distributed import At, die, small, work  # by the name that pickles know it by

    if len(sys.argv) > 1:
        work(Path(sys.argv[1]))
    else:
        small(callbacks=[At(2, die)]).fit(images)
