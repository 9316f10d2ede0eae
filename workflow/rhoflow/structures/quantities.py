"""Quantities that CIF files state as text: a number, its uncertainty, and perhaps a unit."""

import re
from collections.abc import Mapping, Sequence

from rhoflow.structures.reading import one_line

_QUANTITY = re.compile(
    r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?)(?:\(\d*\))?\s*([^\d\s.,()+-][^\d]*)?\Z"
)
_ZERO_CELSIUS_K = 273.15

# Unit in lower case -> factor and offset to the unit that CIF prescribes.
Units = Mapping[str, tuple[float, float]]
KELVIN: Units = {
    **dict.fromkeys(("", "k", "kelvin"), (1.0, 0.0)),
    **dict.fromkeys(
        ("c", "°c", "degc", "deg c", "deg. c", "celsius"),
        (1.0, _ZERO_CELSIUS_K),
    ),
}
KILOPASCAL: Units = {
    **dict.fromkeys(("", "kpa"), (1.0, 0.0)),
    "pa": (1e-3, 0.0),
    "mpa": (1e3, 0.0),
    "gpa": (1e6, 0.0),
    "bar": (100.0, 0.0),
    "kbar": (1e5, 0.0),
    "atm": (101.325, 0.0),
}
FRACTION: Units = {"": (1.0, 0.0), "%": (0.01, 0.0)}


def quantity(text: str, units: Units) -> float | None:
    """The number that a text states, in the first of the units; None if it is no such text.

    The uncertainty in parentheses is left out. What could be read in two ways (``1,273``, a range,
    a bound, a unit that is not known) is not read.
    """
    match = _QUANTITY.match(text.strip())
    unit = (match[2] or "").strip().lower() if match else ""
    if match is None or unit not in units:
        return None
    factor, offset = units[unit]
    return float(match[1]) * factor + offset


def stated_quantity(values: Sequence[str], units: Units) -> tuple[float | None, str]:
    """What the values of a tag state: a positive number, or the text that cannot be read.

    Zero stands for "not given": neither is returned then.
    """
    if not values:
        return None, ""
    # A unit that is not quoted together with its number comes as a value of its own.
    whole = quantity(" ".join(values), units)
    numbers = [whole] if whole is not None else [quantity(value, units) for value in values]
    first = numbers[0]
    if first is None or any(n is None or n < 0 for n in numbers):
        return None, one_line(" ".join(values), 60)
    return (first if first > 0 else None), ""
