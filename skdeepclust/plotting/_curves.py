"""Curves of a training history."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from skdeepclust.plotting._images import check_estimator, import_pyplot, muted, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curve = tuple[np.ndarray, np.ndarray]  # epochs, values
Span = tuple[str, int, int]  # name, first and last epoch
DASHES = ("-", "--", ":", "-.")  # of more curves than the style has colours
N_WITHIN, N_BELOW = 5, 12  # entries of a legend among the curves, of a column of one beside them
LINE = 14  # points between the names of two phases, aslant


class TrainingCurvesDisplay:
    """What a training history recorded, epoch by epoch.

    One panel a column of the history and one line a history, such as those of networks with
    different numbers of spatial transformers in figure 6 of [1]_. Where the training went
    through more than one phase, the same ones in all histories, dashed lines part them, and the
    curves are interrupted.

    Use :meth:`from_estimator` or :meth:`from_histories` to create one.

    Parameters
    ----------
    curves : dict of str to dict of str to tuple of ndarray
        For each column, by its name, the epochs and the values of each history, by its label.
    phases : list of tuple (str, int, int)
        Name, first and last epoch of each phase; epochs count from 1.

    Attributes
    ----------
    figure_ : matplotlib Figure or SubFigure
        Where the curves are drawn.
    axes_ : ndarray of shape (n_columns,)
        Axes of each column.
    lines_ : ndarray of shape (n_columns, n_histories)
        The Line2D of each curve.

    References
    ----------
    .. [1] Souza and Zanchettin (2019). Improving Deep Image Clustering With Spatial
       Transformer Layers. ICANN.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdeepclust import STDACClustering
    >>> from skdeepclust.plotting import TrainingCurvesDisplay
    >>> images = load_digits(n_class=3).images[:200]
    >>> st_dac = STDACClustering(n_clusters=3, n_init=1, max_epochs=2, random_state=0)
    >>> display = TrainingCurvesDisplay.from_estimator(
    ...     st_dac.fit(images), columns=("train_loss", "dur")
    ... )
    >>> display.lines_.shape
    (2, 1)
    """

    def __init__(self, curves: dict[str, dict[str, Curve]], *, phases: Sequence[Span] = ()) -> None:
        self.curves = curves
        self.phases = phases

    def plot(
        self, *, ax: Axes | Sequence[Axes] | None = None, line_kw: dict[str, Any] | None = None
    ) -> TrainingCurvesDisplay:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes or sequence of Axes, default=None
            Where to draw, one for each column. None: a new figure.
        line_kw : dict, default=None
            Keywords for ``Axes.plot``, such as ``{"marker": ""}``.

        Returns
        -------
        self : TrainingCurvesDisplay

        Raises
        ------
        ValueError
            If there are more or fewer axes than columns.
        """
        import_pyplot(self)
        n_columns = len(self.curves)
        if ax is not None:
            axes = np.array(ax, dtype=object).ravel()
            if len(axes) != n_columns:
                raise ValueError(
                    f"ax must be one Axes for each of the columns {list(self.curves)}; got "
                    f"{len(axes)}."
                )
            self._draw(axes, line_kw or {})
            return self
        labels = list(next(iter(self.curves.values())))
        beside = (0.7 + 0.065 * max(map(len, labels))) * -(-len(labels) // N_BELOW)
        size = 5.5 + (beside if len(labels) > N_WITHIN else 0), 0.8 + 2.4 * n_columns
        with new_figure(self, figsize=size, layout="constrained") as figure:
            axes = figure.subplots(n_columns, sharex=True, squeeze=False).ravel()
            self._draw(axes, line_kw or {})
        return self

    def _draw(self, axes: np.ndarray, line_kw: dict[str, Any]) -> None:
        from matplotlib import rcParams
        from matplotlib.cbook import normalize_kwargs
        from matplotlib.lines import Line2D
        from matplotlib.ticker import MaxNLocator

        top, bottom = axes[0], axes[-1]
        self.axes_, self.figure_ = axes, top.figure
        n_colors = len(rcParams["axes.prop_cycle"])
        options = {"marker": ".", "linewidth": 1.5, **normalize_kwargs(line_kw, Line2D)}
        lines = []
        for panel, (column, curves) in zip(axes, self.curves.items(), strict=True):
            lines.append(
                [
                    panel.plot(
                        *self._parted(*curve),
                        **{
                            "label": label,
                            "linestyle": DASHES[number // n_colors % len(DASHES)],
                            **options,
                        },
                    )[0]
                    for number, (label, curve) in enumerate(curves.items())
                ]
            )
            panel.set_ylabel(column)
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
            panel.spines[["top", "right"]].set_visible(False)
            for _, first, _ in self.phases[1:]:
                panel.axvline(
                    first - 0.5, color=muted(0.4), linestyle="--", linewidth=0.8, zorder=0
                )
        self._name_phases(top)
        bottom.set_xlabel("epoch")
        n_curves = len(lines[0])
        if n_curves > N_WITHIN and top.figure.get_layout_engine() is not None:
            n_legend_columns = -(-n_curves // N_BELOW)
            top.legend(
                frameon=False,
                fontsize=8,
                ncols=n_legend_columns,
                loc="center left",
                bbox_to_anchor=(1, 0.5),
            )
        elif n_curves > 1 or "label" in options:
            top.legend(frameon=False, ncols=-(-n_curves // N_WITHIN))
        self.lines_ = np.array(lines, dtype=object)

    def _name_phases(self, ax: Axes) -> None:
        """Write the names of the phases above them: aslant, where one is narrower than its name."""
        point = ax.figure.dpi / 72
        epoch = ax.get_window_extent().width / np.ptp(ax.get_xlim())
        names = [
            ax.annotate(
                name,
                ((first + last) / 2, 1),
                xycoords=ax.get_xaxis_transform(),
                xytext=(0, 4),
                textcoords="offset points",
                ha="center",
                fontsize=8,
                color=muted(0.6),
            )
            for name, first, last in self.phases
        ]
        widths = [name.get_window_extent().width for name in names]
        if all(
            width < epoch * (last - first + 1)
            for width, (_, first, last) in zip(widths, self.phases, strict=True)
        ):
            return
        reached = -np.inf
        for name in names:
            middle = epoch * name.xy[0] / point
            reached = max(middle, reached + LINE)  # to the right, if the one before is too near
            name.set(ha="left", rotation=40, position=(reached - middle, 4))
            if reached > epoch * ax.get_xlim()[1] / point + 3 * LINE:
                name.remove()

    def _parted(self, epochs: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Put a gap between phases, whose values don't belong to one line."""
        starts = [first for _, first, _ in self.phases[1:]]
        gaps = np.unique(np.searchsorted(epochs, starts))
        gaps = gaps[(gaps > 0) & (gaps < len(epochs))]
        return np.insert(epochs.astype(float), gaps, np.nan), np.insert(values, gaps, np.nan)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        columns: str | Sequence[str] = "train_loss",
        ax: Axes | Sequence[Axes] | None = None,
        line_kw: dict[str, Any] | None = None,
    ) -> TrainingCurvesDisplay:
        """Draw what an estimator's ``history_`` recorded.

        Parameters
        ----------
        estimator : estimator instance
            A fitted deep clusterer.
        columns : str or sequence of str, default="train_loss"
            Columns of the history, each in a panel of its own.
        ax : matplotlib Axes or sequence of Axes, default=None
            Where to draw, one for each column. None: a new figure.
        line_kw : dict, default=None
            Keywords for ``Axes.plot``, such as ``{"marker": ""}``.

        Returns
        -------
        display : TrainingCurvesDisplay

        Raises
        ------
        ValueError
            If `estimator` has no ``history_`` or that no such column.
        sklearn.exceptions.NotFittedError
            If `estimator` is not fitted.
        ImportError
            If matplotlib is not installed.
        """
        import_pyplot(cls)
        check_estimator(estimator, "history_")
        histories = {type(estimator).__name__: estimator.history_}
        return cls._from_histories(histories, columns, ax, line_kw)

    @classmethod
    def from_histories(
        cls,
        histories: Mapping[str, Sequence[Mapping[str, Any]]],
        *,
        columns: str | Sequence[str] = "train_loss",
        ax: Axes | Sequence[Axes] | None = None,
        line_kw: dict[str, Any] | None = None,
    ) -> TrainingCurvesDisplay:
        """Compare several histories.

        Parameters
        ----------
        histories : mapping of str to skorch History or sequence of dict
            The epochs of each training by its label; rows without the column are skipped.
        columns : str or sequence of str, default="train_loss"
            Columns of the histories, each in a panel of its own.
        ax : matplotlib Axes or sequence of Axes, default=None
            Where to draw, one for each column. None: a new figure.
        line_kw : dict, default=None
            Keywords for ``Axes.plot``, such as ``{"marker": ""}``.

        Returns
        -------
        display : TrainingCurvesDisplay

        Raises
        ------
        ValueError
            If a history has no such column.
        ImportError
            If matplotlib is not installed.

        Examples
        --------
        >>> from skdeepclust.plotting import TrainingCurvesDisplay
        >>> histories = {
        ...     "fast": [{"train_loss": 1.0}, {"train_loss": 0.2}, {"train_loss": 0.1}],
        ...     "slow": [{"train_loss": 1.0}, {"train_loss": 0.8}, {"train_loss": 0.7}],
        ... }
        >>> display = TrainingCurvesDisplay.from_histories(histories)
        >>> display.lines_.shape
        (1, 2)
        """
        import_pyplot(cls)
        return cls._from_histories(histories, columns, ax, line_kw)

    @classmethod
    def _from_histories(
        cls,
        histories: Mapping[str, Sequence[Mapping[str, Any]]],
        columns: str | Sequence[str],
        ax: Any,
        line_kw: dict[str, Any] | None,
    ) -> TrainingCurvesDisplay:
        if not histories:
            raise ValueError("histories must hold one history or more; got none.")
        columns = [columns] if isinstance(columns, str) else columns
        if not len(columns):
            raise ValueError("columns must name one column or more; got none.")
        curves = {
            column: {label: _curve(history, column, label) for label, history in histories.items()}
            for column in columns
        }
        phases = _shared_phases(histories.values())
        return cls(curves, phases=phases).plot(ax=ax, line_kw=line_kw)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _curve(history: Sequence[Mapping[str, Any]], column: str, label: str) -> Curve:
    """Return the epochs that have the column, and its values there."""
    points = [(i, row[column]) for i, row in enumerate(history, 1) if _is_number(row.get(column))]
    if not points:
        known = sorted({name for row in history for name in row if _is_number(row[name])})
        raise ValueError(
            f"columns must be among those in the history of {label!r}, {known}; got {column!r}."
        )
    epochs, values = zip(*points, strict=True)
    return np.array(epochs), np.array(values, dtype=float)


def _shared_phases(histories: Iterable[Sequence[Mapping[str, Any]]]) -> list[Span]:
    """Return the phases if there are several and all histories go through the same ones."""
    spans: list[list[Span]] = []
    for history in histories:
        spans.append([])
        epochs = enumerate((row.get("phase", "") for row in history), 1)
        for name, group in groupby(epochs, key=lambda epoch: epoch[1]):
            numbers = [number for number, _ in group]
            spans[-1].append((name, numbers[0], numbers[-1]))
    starts = {tuple((name, first) for name, first, _ in phases) for phases in spans}
    longest = max(spans, key=lambda phases: phases[-1][2])
    return longest if len(starts) == 1 and len(longest) > 1 else []
