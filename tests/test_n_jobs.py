"""Restarts in processes: the same result as one by one, whatever happens to a process."""

import os
import signal
import sys
import time
import warnings
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from joblib import parallel_config
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.utils import check_random_state
from skorch.callbacks import Callback
from test_common import fast
from torch.utils.data import TensorDataset

from skdeepclust import DeepClustering, IDECClustering, STDACClustering
from skdeepclust._training._parallel import count_workers, device_of

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*clusters are empty:sklearn.exceptions.ConvergenceWarning",
)
SEEDS = check_random_state(0).randint(np.iinfo(np.int32).max, size=3).tolist()


def three(Estimator=STDACClustering, **parameters):
    """Three restarts of three epochs; the best one goes on after the first or second."""
    return fast(Estimator, **{"n_init": 3, "max_epochs": 3, "screening": 0.5, **parameters})


def assert_same(model, expected):
    np.testing.assert_array_equal(model.labels_, expected.labels_)
    np.testing.assert_allclose(model.merge_tree_, expected.merge_tree_, atol=1e-6)
    assert model.restarts_ == expected.restarts_
    assert model.history_[:, "phase"] == expected.history_[:, "phase"]
    assert model.history_[:, "train_loss"] == expected.history_[:, "train_loss"]
    state, other = model.network_.state_dict(), expected.network_.state_dict()
    assert all(torch.equal(state[name], other[name]) for name in other)


@pytest.fixture(scope="module")
def images(images):
    return images[:100]


@pytest.fixture(scope="module")
def expected(images):
    return three().fit(images)


def test_data_on_disk(images, tmp_path):
    np.save(tmp_path / "X.npy", images)
    memmap = np.load(tmp_path / "X.npy", mmap_mode="r")
    tensors = TensorDataset(torch.from_numpy(images)[:, None])
    alone = three(memory_limit=3000).fit(memmap)
    for X in (memmap, tensors):
        assert_same(three(memory_limit=3000, n_jobs=2).fit(X), alone)
    with h5py.File(tmp_path / "X.h5", "w") as file:
        file["X"] = images
        with pytest.raises(ValueError, match="what X is read from can't be pickled"):
            three(memory_limit=3000, n_jobs=2).fit(file["X"])


class Watch(Callback):
    """Notes who trains which restart, on how many threads, and in which file of joblib's X is."""

    def __init__(self, folder):
        self.folder = folder

    def on_train_begin(self, net, X=None, **kwargs):
        shared = 0
        if sys.platform == "linux":
            address = X.values.data_ptr()
            for line in Path("/proc/self/maps").read_text().splitlines():
                start, stop = (int(part, 16) for part in line.split()[0].split("-"))
                if start <= address < stop and "joblib" in line:
                    shared = zlib.crc32(line.split()[-1].encode())
        facts = (torch.initial_seed(), os.getpid(), torch.get_num_threads(), shared)
        (self.folder / "-".join(map(str, facts))).touch()

    def __deepcopy__(self, memo):
        return self


class OfOneRestart(Callback):
    """Does something in the second restart, at the first epoch."""

    def __init__(self, folder, seed=SEEDS[1]):
        self.folder, self.seed, self.parent = folder, seed, os.getpid()

    def on_epoch_begin(self, net, **kwargs):
        if torch.initial_seed() == self.seed and len(net.history) == 1:
            self.act(net)


class Killed(OfOneRestart):
    """Kills the process of the second restart once, and that of the third each time."""

    def on_epoch_begin(self, net, **kwargs):
        number = SEEDS.index(torch.initial_seed())
        while number == 2 and not (self.folder / "1").exists():
            time.sleep(0.1)  # else the second, if its process is slow to start, is killed later
        is_first = not (self.folder / str(number)).exists()
        (self.folder / str(number)).touch()
        if number == 2 or (number == 1 and is_first):
            assert os.getpid() != self.parent
            os.kill(os.getpid(), signal.SIGKILL)


class Spoiled(OfOneRestart):
    def act(self, net):
        for parameter in net.module_.parameters():
            parameter.data.fill_(torch.nan)


class Broken(OfOneRestart):
    def act(self, net):
        raise RuntimeError("broken")


class CtrlC(OfOneRestart):
    """Interrupts the process that waits, once others have ended; then it has to be killed."""

    def act(self, net):
        (self.folder / str(os.getpid())).touch()
        time.sleep(2)  # until what others have sent is there
        os.kill(self.parent, signal.SIGINT)
        time.sleep(60)


class Waiting(OfOneRestart):
    def act(self, net):
        time.sleep(60)


class Unpicklable(Callback):
    def __reduce__(self):
        raise TypeError("cannot pickle this")

    def __deepcopy__(self, memo):
        return self


# ---------------------------------------------------------------------- the same result


def facts(folder):
    return [tuple(map(eval, path.name.split("-"))) for path in folder.iterdir()]


@pytest.mark.parametrize(
    ("Estimator", "parameters"),
    [
        (STDACClustering, {}),
        (STDACClustering, {"screening": 1.0}),
        (DeepClustering, {"max_epochs": 2}),
        (IDECClustering, {"max_epochs": 2, "screening": 0.5, "finetune_epochs": 1}),
    ],
    ids=["consensus", "consensus at the end", "choice between phases", "pretraining"],
)
def test_same_result_with_any_n_jobs(Estimator, parameters, images, tmp_path):
    parameters = {k: v for k, v in parameters.items() if hasattr(Estimator(), k)}
    expected = three(Estimator, **parameters).fit(images)
    model = three(Estimator, **parameters, n_jobs=2, callbacks=[Watch(tmp_path)]).fit(images)
    assert_same(model, expected)
    trained_elsewhere = {seed for seed, pid, *_ in facts(tmp_path) if pid != os.getpid()}
    assert trained_elsewhere == set(SEEDS)


def test_n_jobs_of_a_context(images, expected, tmp_path):
    watched = three(callbacks=[Watch(tmp_path)])
    assert_same(watched.fit(images), expected)
    assert {pid for _, pid, *_ in facts(tmp_path)} == {os.getpid()}
    with parallel_config(n_jobs=2):
        assert_same(watched.fit(images), expected)
    assert {seed for seed, pid, *_ in facts(tmp_path) if pid != os.getpid()} == set(SEEDS)


def test_processes_share_samples_and_processors(images, tmp_path):
    wide = np.tile(images.reshape(100, 64), 50).astype("float32")  # joblib shares from 1 MB on
    n_threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        fast(DeepClustering, n_init=3, n_jobs=2, callbacks=[Watch(tmp_path)]).fit(wide)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(n_threads)
    elsewhere = [(n, shared) for _, pid, n, shared in facts(tmp_path) if pid != os.getpid()]
    assert len(elsewhere) == 3
    ((n_threads, file),) = set(elsewhere)  # one copy for all
    assert n_threads == 1
    assert bool(file) == (sys.platform == "linux")


def test_a_random_state_instance_is_drawn_from_once(images):
    models = [three(random_state=np.random.RandomState(3), n_jobs=n).fit(images) for n in (1, 2)]
    assert_same(*models)


def test_threads_train_one_by_one(images, expected, tmp_path):
    model = three(callbacks=[Watch(tmp_path), Unpicklable()], n_jobs=2)
    with parallel_config("threading", n_jobs=2):
        assert count_workers(None, 3) == 1
        assert_same(model.fit(images), expected)
    assert {pid for _, pid, *_ in facts(tmp_path)} == {os.getpid()}


# ---------------------------------------------------------------------- Dask


@pytest.fixture
def dask():
    """A function that starts a Dask cluster of two workers, in processes or in this one."""
    distributed = pytest.importorskip("distributed")
    clients = []

    def start(processes):
        cluster = distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1 if processes else 2,
            processes=processes,
            dashboard_address=None,
        )
        clients.append(distributed.Client(cluster))

    yield start
    for client in clients:
        client.cluster.close()
        client.close()


@pytest.mark.slow
@pytest.mark.parametrize("processes", [True, False])
def test_dask(processes, dask, images, expected, tmp_path):
    """In threads of this process too, where fits take turns: that of the fit has to come."""
    dask(processes)
    with parallel_config("dask"):
        assert_same(three(callbacks=[Watch(tmp_path)]).fit(images), expected)
    if processes:
        assert {seed for seed, pid, *_ in facts(tmp_path) if pid != os.getpid()} == set(SEEDS)


@pytest.mark.slow
def test_within_a_search_in_parallel(images):
    scores = []
    for n_jobs in (None, 2):
        model = three(DeepClustering, max_epochs=2, n_jobs=n_jobs)
        search = GridSearchCV(model, {"lr": [1e-3]}, cv=2, n_jobs=n_jobs, refit=False)
        scores.append(search.fit(images).cv_results_["mean_test_score"])
    np.testing.assert_array_equal(*scores)


# ---------------------------------------------------------------------- failures


def test_killed_processes(images, tmp_path):
    """A restart is trained once more, since another's process may have been killed, and fails then.

    joblib lets all restarts go that are not done.
    """
    model = three(n_jobs=2, callbacks=[Killed(tmp_path)])
    with (
        pytest.warns(ConvergenceWarning, match=r"A process was killed. Of 3 restarts.*: .*2, 3"),
        pytest.warns(ConvergenceWarning, match="One of 3 restarts failed and is left out: .*termi"),
    ):
        model.fit(images)
    without_third = three(callbacks=[Spoiled(tmp_path, SEEDS[2])])
    with pytest.warns(ConvergenceWarning, match="One of 3 restarts failed and is left out"):
        assert_same(model, without_third.fit(images))


def test_failing_restarts_are_left_out(images, tmp_path):
    models = [three(n_jobs=n, callbacks=[Spoiled(tmp_path)]) for n in (1, 2)]
    for model in models:
        with pytest.warns(ConvergenceWarning, match="One of 3 restarts failed and is left out: "):
            model.fit(images)
    assert_same(*models)
    with (
        pytest.warns(ConvergenceWarning, match="One of 3 restarts failed"),
        pytest.raises(FloatingPointError, match="the loss became nan"),
    ):
        three(lr=1e30, n_jobs=2, optimizer=torch.optim.SGD).fit(images)


def test_other_errors_are_raised(images, expected):
    model = clone(expected).fit(images)
    model.set_params(n_jobs=2, network=torch.nn.Linear(7, 3))
    with pytest.raises(ValueError, match="does not take samples of shape"):
        model.fit(images)
    np.testing.assert_array_equal(model.predict(images), expected.labels_)  # the fit before


def test_warnings_of_a_process_come_out(images):
    def warning(x):
        if torch.is_grad_enabled():
            warnings.warn("from afar", UserWarning, stacklevel=1)
        return x

    with pytest.warns(UserWarning, match="from afar"):
        three(max_epochs=1, n_init=2, augmentation=warning, n_jobs=2, consensus=False).fit(images)


def test_what_cannot_be_pickled(images, expected):
    model = clone(expected).fit(images)
    model.set_params(n_jobs=2, callbacks=[Unpicklable()])
    with pytest.raises(ValueError, match=r"n_jobs: .*can't be pickled: cannot pickle this"):
        model.fit(images)
    np.testing.assert_array_equal(model.predict(images), expected.labels_)
    local = lambda x: x  # noqa: E731
    three(max_epochs=1, n_init=2, n_jobs=2, augmentation=local).fit(images)


def test_interruption(images, expected, tmp_path):
    """The restarts that have ended are kept, and the others are stopped."""
    model = three(n_jobs=2, callbacks=[CtrlC(tmp_path, SEEDS[2])])
    with pytest.warns(ConvergenceWarning, match="was interrupted after 2 epochs"):
        model.fit(images)
    ended = [i for i, run in enumerate(model.restarts_) if run["score"] is not None]
    assert ended in ([0], [1], [0, 1])
    for i in ended:  # the one that went on there, which rounding decides, has another score by now
        run, whole = model.restarts_[i], expected.restarts_[i]
        assert run["score"] == whole["score"] or run["n_epochs"] < whole["n_epochs"]
    np.testing.assert_array_equal(model.predict(images), model.labels_)
    (pid,) = (int(path.name) for path in tmp_path.iterdir())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_interruption_before_a_restart_has_ended(images, tmp_path):
    callbacks = [CtrlC(tmp_path, SEEDS[0]), Waiting(tmp_path, SEEDS[1])]
    model = three(n_init=2, n_jobs=2, callbacks=callbacks)
    with pytest.raises(KeyboardInterrupt):
        model.fit(images)
    assert not hasattr(model, "network_")


# ---------------------------------------------------------------------- checkpoints, progress


class Stop(Callback):
    """Ends this process's part after so many epochs of any restart."""

    def __init__(self, n_epochs):
        self.n_left = n_epochs

    def __deepcopy__(self, memo):
        return self

    def on_epoch_begin(self, net, **kwargs):
        self.n_left -= 1
        if self.n_left < 0:
            raise RuntimeError("killed")


def test_an_interrupted_fit_goes_on_with_any_n_jobs(images, expected, tmp_path, monkeypatch):
    monkeypatch.setattr("skdeepclust._training._checkpoint.CHECKPOINT_SECONDS", 0.0)
    model = three(checkpoint=tmp_path / "fit.pt")
    for n_jobs, stop in (
        (2, Broken(tmp_path)),  # in a process, while others train
        (1, Stop(1)),
        (2, Stop(3)),  # here, once the processes are done: in the consensus
        (2, Stop(1)),  # after it
    ):
        model.set_params(n_jobs=n_jobs, callbacks=[stop])
        with pytest.raises(RuntimeError, match="broken" if isinstance(stop, Broken) else "killed"):
            model.fit(images)
    assert_same(model.set_params(n_jobs=1, callbacks=[Stop(1)]).fit(images), expected)
    assert_same(model.set_params(n_jobs=2, callbacks=[Stop(0)]).fit(images), expected)


def test_progress(images, capsys):
    three(max_epochs=1, n_init=2, consensus=False, verbose=1, n_jobs=2).fit(images)
    shown = capsys.readouterr().err
    assert "2 of 2 restarts" in shown
    assert "200/200" in shown


# ---------------------------------------------------------------------- devices


def test_a_gpu_for_each_restart():
    cuda = torch.device("cuda")
    assert [str(device_of(cuda, i, 2)) for i in range(4)] == ["cuda:0", "cuda:1"] * 2
    assert device_of(cuda, 3, 1) == cuda
    for one in ("cuda:1", "cpu", "mps"):  # that was asked for, or the only one
        assert device_of(torch.device(one), 3, 2) == torch.device(one)
