"""The errors that rhoflow raises on purpose.

Misuse (a wrong config, a corrupt file) is an exception of this module; a failed
calculation is not an exception but a row with a status and a reason.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class RhoflowError(Exception):
    """Base of every error that rhoflow raises on purpose; its text is meant for the user."""


class ConfigError(RhoflowError):
    """The config names something that does not exist or asks for something impossible."""


class DataError(RhoflowError):
    """A file or table is unreadable, corrupt, or contradicts the others."""


class EngineError(RhoflowError):
    """A DFT engine cannot be used here: not installed, no data set for an element."""


class TrainingError(RhoflowError):
    """A network cannot be trained with these settings."""


def did_you_mean(wrong: str, valid: Iterable[str]) -> str:
    """Return ``'; did you mean 'x'?'`` for the nearest valid name, or the list of valid names."""
    names = [str(name) for name in valid]
    near = get_close_matches(str(wrong), names, n=1, cutoff=0.6)
    if near:
        return f"; did you mean '{near[0]}'?"
    return f"; valid are: {', '.join(sorted(names))}" if names else ""
