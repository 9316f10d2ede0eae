"""The base of every spec: a frozen, strict description of one step's settings.

A spec lives beside the code that it configures. ``rhoflow.config`` composes specs into the
config file's model, and a rule hands ``spec.model_dump()`` to its script as one plain dict.
"""

from pydantic import BaseModel, ConfigDict


class Spec(BaseModel):
    """Settings of one step; unknown keys, infinities and later assignment are refused.

    A subclass whose numbers may change between versions has a field ``algorithm: Literal[n]``
    that is raised whenever they do: Snakemake reruns a step when its params change, but it does
    not see edits of an imported package.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
