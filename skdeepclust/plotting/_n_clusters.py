"""Scores of several numbers of clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skdeepclust.plotting._images import import_pyplot, muted, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from skdeepclust.model_selection import NClustersSelection


class NClustersDisplay:
    """Prediction strength and stability by the number of clusters.

    Mean and standard error over the halves of the samples; the threshold of the strength is dashed,
    and a vertical line marks the number to take.

    Use :meth:`from_selection` to create one.

    Parameters
    ----------
    selection : NClustersSelection
        What :func:`~skdeepclust.select_n_clusters` found.

    Attributes
    ----------
    figure_ : matplotlib Figure or SubFigure
        Where the curves are drawn.
    ax_ : matplotlib Axes
        Axes of the curves.
    errorbars_ : list of matplotlib ErrorbarContainer
        Of the strength and of the stability.

    Examples
    --------
    >>> from sklearn.cluster import KMeans
    >>> from sklearn.datasets import make_blobs
    >>> from skdeepclust import select_n_clusters
    >>> from skdeepclust.plotting import NClustersDisplay
    >>> X, _ = make_blobs(300, centers=4, random_state=1)
    >>> selection = select_n_clusters(KMeans(n_init=5), X, range(2, 7), random_state=0)
    >>> NClustersDisplay.from_selection(selection).ax_.get_xlabel()
    'number of clusters'
    """

    def __init__(self, selection: NClustersSelection) -> None:
        self.selection = selection

    def plot(self, *, ax: Axes | None = None) -> NClustersDisplay:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None: a new figure.

        Returns
        -------
        self : NClustersDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        import_pyplot(self)
        if ax is not None:
            self._draw(ax)
            return self
        with new_figure(self, figsize=(5.5, 3.4), layout="constrained") as figure:
            self._draw(figure.subplots())
        return self

    def _draw(self, ax: Axes) -> None:
        found = self.selection
        curves = {"prediction strength": found.strength, "stability": found.stability}
        means = np.array([values.mean(1) for values in curves.values()])
        errors = np.array([values.std(1) / values.shape[1] ** 0.5 for values in curves.values()])
        self.errorbars_ = [
            ax.errorbar(
                found.n_clusters,
                mean,
                error,
                marker=marker,
                markersize=4,
                capsize=2,
                label=name,
            )
            for name, mean, error, marker in zip(curves, means, errors, "os", strict=True)
        ]
        ax.axhline(found.threshold, color="C0", linestyle="--", linewidth=0.8)
        ax.axvline(found.best, color=muted(0.4), linewidth=0.8, label=f"{found.best} clusters")
        ticks = found.n_clusters[:: -(-len(found.n_clusters) // 15)]
        low, high = (means - errors).min() - 0.05, (means + errors).max() + 0.05
        ax.set(xlabel="number of clusters", ylim=(min(0, low), max(1.05, high)), xticks=ticks)
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False, fontsize=9)
        self.ax_, self.figure_ = ax, ax.figure

    @classmethod
    def from_selection(
        cls, selection: NClustersSelection, *, ax: Axes | None = None
    ) -> NClustersDisplay:
        """Draw what :func:`~skdeepclust.select_n_clusters` found.

        Parameters
        ----------
        selection : NClustersSelection
        ax : matplotlib Axes, default=None
            Where to draw. None: a new figure.

        Returns
        -------
        display : NClustersDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        return cls(selection).plot(ax=ax)
