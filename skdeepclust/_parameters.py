"""Estimators that declare each parameter once, in the class that owns it."""

from __future__ import annotations

import inspect
import re
import textwrap
from dataclasses import MISSING, dataclass, field, fields
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, TypeVar

from skdeepclust._sklearn import Interval

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:  # for editors and type checkers alone

    def dataclass_transform(**options: Any) -> Any:
        """Return a decorator that does nothing."""
        return lambda decorator: decorator


T = TypeVar("T")

POSITIVE = Interval(Real, 0, None, closed="neither")
NOT_NEGATIVE = Interval(Real, 0, None, closed="left")
SHARE = Interval(Real, 0, 1, closed="both")
BELOW_1 = Interval(Real, 0, 1, closed="left")
AT_LEAST_0, AT_LEAST_1, AT_LEAST_2 = (Interval(Integral, n, None, closed="left") for n in range(3))
N_JOBS = (None, AT_LEAST_1, Interval(Integral, None, -1, closed="right"))

CHOSEN = {  # text, and parameters that it names where the class has them
    "autoencoders": (
        "The defaults of the numbers of epochs, the learning rates and {names} were chosen on "
        "scikit-learn's 1,797 digits, with their labels in sight.",
        ("n_init", "whiten", "kl_weight"),
    ),
    "contrastive": (
        "The defaults of the learning rates and the numbers of epochs were chosen on "
        "scikit-learn's 1,797 digits, with their labels in sight.",
        (),
    ),
}


def param(default: Any, *allowed: Any) -> Any:
    """Declare a parameter: its default, and what scikit-learn's validation lets pass.

    A subclass that changes the default alone needn't repeat what is allowed.
    """
    return field(default=default, metadata={"allowed": list(allowed)})


# `param` is no field specifier: its result counts as the default, which it gets by position.
@dataclass_transform(eq_default=False, kw_only_default=True, field_specifiers=(field,))
def estimator(cls: type[T]) -> type[T]:
    """Give a class ``__init__``, constraints and docstring, from what it and its bases declare.

    The sections Parameters and Attributes of its docstring hold what is its own, or what is
    different in it; the bases' follow. Defaults are added from the declarations.
    """
    inherited = dict(getattr(cls, "_parameter_constraints", {}))
    made: Any = dataclass(cls, eq=False, repr=False, kw_only=True)
    defaults = {}
    made._parameter_constraints = {}
    for parameter in fields(made):
        allowed = parameter.metadata.get("allowed") or _from_bases(made, parameter.name, inherited)
        made._parameter_constraints[parameter.name] = allowed
        defaults[parameter.name] = parameter.default
        if parameter.default is not MISSING and getattr(made, parameter.name) != parameter.default:
            # dataclasses take the last base's that inherits it, not the first one's that changes it
            raise TypeError(f"{made.__name__} and one of its bases differ in {parameter.name}")
    if made.__doc__:  # python -OO has none
        made.__doc__ = _documented(made, defaults)
    return made


def _from_bases(cls: type, name: str, inherited: dict[str, list[Any]]) -> list[Any]:
    for base in cls.__mro__[1:]:
        constraints = vars(base).get("_parameter_constraints", {})
        if name in constraints:
            return constraints[name]
    return inherited[name]


def _documented(cls: Any, defaults: dict[str, Any]) -> str:
    doc = inspect.cleandoc(cls.__doc__)
    for name, (text, chosen) in CHOSEN.items():
        known = ", ".join(f"`{n}`" for n in chosen if n in defaults)
        note = textwrap.fill(text.format(names=known), 94)
        doc = doc.replace("{{" + name + "}}", note)
    for section in ("Parameters", "Attributes"):
        head, own, rest = _split(doc, section)
        entries = dict(own)
        for base in cls.__mro__[1:]:
            for name, entry in vars(base).get(f"_{section}", {}).items():
                entries.setdefault(name, entry)
        setattr(cls, f"_{section}", entries)
        if section == "Parameters":
            first = [name for name in defaults if name == "n_clusters"]
            names = [*first, *(name for name in entries if name in defaults and name not in first)]
            entries = {name: _with_default(entries[name], defaults[name]) for name in names}
        text = "".join(dict.fromkeys(entries.values()))  # some stand for several names
        if text:
            doc = f"{head}\n\n{section}\n{'-' * len(section)}\n{text}\n{rest}"
    return doc.replace("\n", "\n    ").rstrip() + "\n    "


def _split(doc: str, section: str) -> tuple[str, dict[str, str], str]:
    """Return what stands before a section, its entries by name, and what stands after it."""
    start = re.search(rf"^{section}\n-+\n", doc, flags=re.MULTILINE)
    if start is None:  # it would stand before the first of those that follow it
        later = re.search(
            r"^(Attributes|See Also|Notes|References|Examples)\n-+\n", doc, re.MULTILINE
        )
        place = later.start() if later else len(doc)
        return doc[:place].rstrip(), {}, doc[place:]
    end = re.search(r"^\w[\w ]*\n-+\n", doc[start.end() :], flags=re.MULTILINE)
    stop = start.end() + end.start() if end else len(doc)
    found = re.findall(
        r"^\S.*\n(?:(?:[ ]+.*)?\n)*", doc[start.end() : stop].rstrip() + "\n", re.MULTILINE
    )
    entries = {}
    for text in found:
        for name in text.partition(" :")[0].split(", "):
            entries[name] = text.rstrip() + "\n"
    return doc[: start.start()].rstrip(), entries, doc[stop:]


def _with_default(entry: str, default: Any) -> str:
    if default is MISSING:
        return entry
    if isinstance(default, type):
        shown = f"{default.__module__.partition('.')[0]}.optim.{default.__name__}"
    else:
        shown = f'"{default}"' if isinstance(default, str) else repr(default)
    first, _, rest = entry.partition("\n")
    return f"{first}, default={shown}\n{rest}"
