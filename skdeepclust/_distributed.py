"""One model on many processes, those of torchrun: what they exchange while they train together.

Each process holds all samples and the whole network and goes through the same epochs. Of each
batch it takes a share; what follows from the batch as a whole is gathered, so that the processes
together do what one does with the whole batch.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from skdeepclust._torch_state import LocalRandomState

TIMEOUT = timedelta(minutes=10)  # of a process that waits for the others
ENVIRONMENT = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # what torchrun sets


def local_gpu(rank: int) -> str:
    """Return the process's GPU, of those of its machine."""
    return f"cuda:{os.environ.get('LOCAL_RANK', rank % torch.cuda.device_count())}"


class Processes:
    """The processes that train one model, as this one of them sees them.

    Parameters
    ----------
    rank, size : int
        Number of this process, and how many there are.
    """

    def __init__(self, rank: int, size: int) -> None:
        self.rank = rank
        self.size = size
        # where numbers are exchanged that are on no device yet
        self.device = torch.device(local_gpu(rank) if dist.get_backend() == "nccl" else "cpu")
        self.n_samples = 0  # of the whole batch at hand
        self.share = slice(0)  # what of it is this process's

    # ------------------------------------------------------------------ what is exchanged

    def reduce(self, x: Tensor, op: Any = None) -> Tensor:
        """Sum `x` over the processes, in place (or combine it by `op`)."""
        with self._clear_error():
            dist.all_reduce(x, dist.ReduceOp.SUM if op is None else op)
        return x

    def broadcast(self, tensors: Iterable[Tensor], source: int = 0) -> None:
        """Put a process's values, by default the first one's, into tensors of the same shapes."""
        with torch.inference_mode(), self._clear_error():  # which they may come from
            for tensor in tensors:
                values = tensor.contiguous()  # nothing else can be sent
                dist.broadcast(values, source)
                tensor.copy_(values)

    def differ(self, numbers: Tensor) -> bool:
        """Return whether the processes have other numbers, beyond rounding."""
        numbers = numbers.double()
        low, high = self.reduce(torch.stack([-numbers, numbers]), dist.ReduceOp.MAX)
        return not torch.allclose(-low, high, equal_nan=True)

    @contextmanager
    def _clear_error(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise RuntimeError(
                f"process {self.rank} of {self.size} (counted from 0) lost the others: one of "
                f"them has ended or raised an error, which its own output shows ({error})."
            ) from error

    # ------------------------------------------------------------------ a step on a batch

    def take_share(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return what of a batch is this process's, and keep in mind where it stands in it."""
        x, index = batch
        self.n_samples = n = len(index)
        self.share = slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)
        return x[self.share], index[self.share]

    def weight(self) -> float:
        """Return the part of the batch that the share is."""
        return (self.share.stop - self.share.start) / self.n_samples

    def random_state(self, n_steps: int, device: torch.device) -> LocalRandomState:
        """Return one of this process's own, which follows from that of all and leaves it alone."""
        common = torch.get_rng_state()
        seed = int(torch.randint(2**31, ()))
        torch.set_rng_state(common)
        own = zlib.crc32(f"{seed} {n_steps} {self.rank}".encode())
        return LocalRandomState(own, device)

    def sum_gradients(self, optimizers: Iterable[torch.optim.Optimizer]) -> None:
        """Sum the gradients of what the optimisers train, in one go."""
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        given = [p.grad for group in groups for p in group["params"] if p.grad is not None]
        total = self.reduce(torch.cat([gradient.flatten() for gradient in given]))
        for gradient, part in zip(given, total.split([g.numel() for g in given]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def mean(self, loss: float, n_samples: int, device: torch.device) -> tuple[float, int]:
        """Return the mean loss over the samples of all processes, and their number."""
        sums = torch.tensor([loss * n_samples, n_samples], dtype=torch.float64, device=device)
        total, n_samples = self.reduce(sums).tolist()
        return total / n_samples, int(n_samples)

    # ------------------------------------------------------------------ what has to be the same

    def agree(self, *modules: nn.Module) -> None:
        """Give modules the state that they have in the first process.

        It is the same anyway but for rounding, which differs from one GPU to another and can
        lead k-means, say, elsewhere.
        """
        for module in modules:
            self.broadcast([*module.parameters(), *module.buffers()])

    def check_network(self, network: nn.Module) -> None:
        """Raise a RuntimeError if what the processes have trained is not the same."""
        weights = [*network.parameters(), *network.buffers()]
        if self.differ(torch.stack([w.detach().double().sum() for w in weights])):
            raise RuntimeError(
                f"The weights of the {self.size} processes are not the same after a phase of "
                "training. Callbacks and objectives must do the same in each process."
            )

    def check_input(self, fingerprint: dict[str, str], n_samples: int) -> None:
        """Raise a ValueError if the processes don't fit the same estimator to the same data."""
        digits = [float(byte) for byte in zlib.crc32(str(fingerprint).encode()).to_bytes(4, "big")]
        if self.differ(torch.tensor(digits, device=self.device)):
            raise ValueError(
                f"X and the parameters must be the same in each of the {self.size} processes, "
                "which share each batch out among them. Process "
                f"{self.rank} (counted from 0) has {fingerprint}."
            )
        if n_samples < self.size:
            raise ValueError(
                f"X must have a sample for each of the {self.size} processes; got "
                f"n_samples={n_samples}."
            )


_current: Processes | None = None


def current() -> Processes | None:
    """Return the processes that the fit in progress runs on; None: this one alone."""
    return _current


def n_processes() -> int:
    """Return how many processes the fit in progress runs on."""
    return 1 if _current is None else _current.size


def is_first() -> bool:
    """Return whether this process is the one that shows progress and writes files."""
    return _current is None or _current.rank == 0


def agreed(value: Any) -> Any:
    """Return the first process's value of a number, a list of numbers or an array."""
    if _current is None:
        return value
    tensor = torch.from_numpy(np.array(value)).to(_current.device)
    _current.broadcast([tensor])
    result = tensor.cpu().numpy()
    return result if isinstance(value, np.ndarray) else result.tolist()


def is_shared(n_parts: int) -> bool:
    """Return whether each process does some of so many parts of what all need to know."""
    return _current is not None and n_parts >= _current.size


def own_parts(n_parts: int) -> slice:
    """Return which parts are this process's."""
    if not is_shared(n_parts):
        return slice(0, n_parts)
    assert _current is not None
    rank, size = _current.rank, _current.size
    return slice(n_parts * rank // size, n_parts * (rank + 1) // size)


def joined_parts(rows: Tensor, n_parts: int) -> Tensor:
    """Return the rows of all processes, given this one's and zeros for the others'."""
    if is_shared(n_parts):
        assert _current is not None
        with torch.inference_mode(rows.is_inference()):
            _current.reduce(rows)
    return rows


def of_lowest(value: float, result: Iterable[Any]) -> list[Any]:
    """Return the result of the process whose `value` is lowest; tensors are written into."""
    parts = list(result)
    if _current is None:
        return parts
    values = torch.zeros(_current.size, dtype=torch.float64, device=_current.device)
    values[_current.rank] = value
    source = int(_current.reduce(values).argmin())
    for i, part in enumerate(parts):
        if isinstance(part, Tensor):
            _current.broadcast([part], source)
        else:
            number = torch.from_numpy(np.array(part)).to(_current.device)
            _current.broadcast([number], source)
            parts[i] = number.item()
    return parts


def own_device(device: str | torch.device) -> str | torch.device:
    """Return what "auto" and "cuda" stand for in one of several processes."""
    if _current is None or str(device) not in ("auto", "cuda"):
        return device
    if not torch.cuda.is_available():
        return "cpu" if str(device) == "auto" else device
    return local_gpu(_current.rank)


@contextmanager
def joined() -> Iterator[None]:
    """Train with the other processes within the block, if torch or torchrun knows of any."""
    global _current
    before = _current
    if dist.is_available() and before is None:
        # Workers of joblib and the like inherit the environment, but are none of torchrun's.
        is_launched = all(map(os.environ.get, ENVIRONMENT))
        is_launched = is_launched and multiprocessing.parent_process() is None
        if is_launched and os.environ["WORLD_SIZE"] != "1" and not dist.is_initialized():
            has_nccl = torch.cuda.is_available() and dist.is_nccl_available()
            backend = "cpu:gloo,cuda:nccl" if has_nccl else "gloo"
            dist.init_process_group(backend, timeout=TIMEOUT)
            atexit.register(dist.destroy_process_group)  # the next fit needs it too
        if dist.is_initialized() and dist.get_world_size() > 1:
            _current = Processes(dist.get_rank(), dist.get_world_size())
    try:
        yield
    finally:
        _current = before


# ---------------------------------------------------------------------- for objectives


class _Gather(torch.autograd.Function):
    """Rows of all processes; the gradient of each is that of all processes' losses."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int, start: int, total: int) -> Tensor:
        ctx.place = dim, start, x.shape[dim]
        shape = list(x.shape)
        shape[dim] = total
        everything = x.new_zeros(shape)
        everything.narrow(*ctx.place).copy_(x)
        assert _current is not None
        return _current.reduce(everything)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        assert _current is not None
        gradient = _current.reduce(gradients[0].clone(memory_format=torch.contiguous_format))
        return gradient.narrow(*ctx.place), None, None, None


def gather(x: Tensor, dim: int = 0) -> Tensor:
    """Return the whole batch's rows of which `x` are those of this process, with gradients.

    A loss that looks at pairs of samples or at means within the batch needs it, one that is a
    mean over samples doesn't. In a fit of one process it returns `x`.

    Parameters
    ----------
    x : Tensor
        One row a sample of the batch at hand, along `dim`.
    dim : int, default=0
    """
    if _current is None:
        return x
    start, stop, n_samples = _current.share.start, _current.share.stop, _current.n_samples
    if x.shape[dim] != stop - start:
        raise ValueError(
            f"x must have a row for each of the batch's {stop - start} samples along dim={dim}; "
            f"got shape {tuple(x.shape)}."
        )
    return _Gather.apply(x, dim, start, n_samples)


def own_share(x: Tensor) -> Tensor:
    """Return this process's rows of the whole batch's: what undoes :func:`gather`."""
    return x if _current is None else x[_current.share]


class SynchronizedBatchNorm(TorchFunctionMode):
    """Within the block, batch normalisation takes the statistics of the whole batch.

    torch's SyncBatchNorm is for GPUs alone, and for modules that are replaced; this leaves the
    network as it is.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call `func`, or what takes the place of batch normalisation."""
        kwargs = kwargs or {}
        if func is F.batch_norm and kwargs.pop("training"):
            x, *running = args
            others = map(kwargs.get, ("weight", "bias", "momentum", "eps"))
            return _BatchNorm.apply(x.float(), *running, *others).to(x.dtype)
        return func(*args, **kwargs)


class _BatchNorm(torch.autograd.Function):
    """torch's own kernels, between which the processes exchange sums."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None,
        bias: Tensor | None,
        momentum: float,
        eps: float,
    ) -> Tensor:
        assert _current is not None
        mean, var = torch.batch_norm_update_stats(x, None, None, 0.0)
        n = mean.new_full((1,), x.numel() / len(mean))
        rows = mean.new_zeros(_current.size, 2 * len(mean) + 1)
        rows[_current.rank] = torch.cat([mean, var, n])
        means, variances, counts = _current.reduce(rows).split([len(mean), len(mean), 1], 1)
        n = counts.sum()
        shares = counts / n
        mean = (shares * means).sum(0)
        var = (shares * (variances + (means - mean).square())).sum(0)
        if running_mean is not None and running_var is not None:
            running_mean.lerp_(mean, momentum)
            running_var.lerp_(var * (n / (n - 1)), momentum)
        ctx.save_for_backward(x, weight, mean, var, n)
        ctx.eps = eps
        return F.batch_norm(x, mean, var, weight, bias, eps=eps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        assert _current is not None
        x, weight, mean, var, n = ctx.saved_tensors
        # as if the statistics were constants; then what comes through them
        direct, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradients[0], x, weight, mean, var, None, None, False, ctx.eps, [True] * 3
        )
        by_x, by_one = _current.reduce(torch.stack([of_weight, of_bias])) / n
        inverse = (var + ctx.eps).rsqrt()
        scale = -inverse if weight is None else -inverse * weight
        slope = scale * inverse * by_x
        offset = scale * by_one - slope * mean
        shape = [1, -1, *[1] * (x.ndim - 2)]
        of_x = direct + torch.addcmul(offset.view(shape), x, slope.view(shape))
        if weight is None:
            of_weight = of_bias = None
        return of_x, None, None, of_weight, of_bias, None, None
