"""What a config file has wrong, in the words of its keys."""

import re
from collections.abc import Mapping
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from rhoflow.errors import did_you_mean


def explain(error: ErrorDetails, config: type[BaseModel]) -> str:
    """One line: where, what was got, what was expected, the nearest valid key."""
    location = [part for part in error["loc"] if part != "[key]"]
    owner, shown = _walk(location, config)
    where = ".".join(str(part) for part in shown) or "config"
    if error["type"] == "extra_forbidden":
        keys = owner.model_fields if owner else ()
        return f"{where}: unknown key '{shown[-1]}'{did_you_mean(str(shown[-1]), keys)}"
    if error["type"] == "missing":
        return f"{where}: this key is required and missing"
    if error["type"] == "value_error":
        return re.sub(r"^config: ", "", f"{where}: {error['msg'].removeprefix('Value error, ')}")
    if error["type"].startswith("union_tag"):
        given = error["input"].get("kind") if isinstance(error["input"], Mapping) else None
        kinds = [
            k.strip(" '") for k in (error.get("ctx") or {}).get("expected_tags", "").split(",")
        ]
        hint = did_you_mean(str(given), kinds if kinds != [""] else ())
        return (
            f"{where}.kind: {f'unknown kind {given!r}' if given else 'required and missing'}{hint}"
        )
    got = repr(error["input"])
    got = got if len(got) < 80 else got[:77] + "..."
    return f"{where}: got {got}; {error['msg'][0].lower()}{error['msg'][1:]}"


def _walk(
    location: list[str | int], config: type[BaseModel]
) -> tuple[type[BaseModel] | None, list[str | int]]:
    """Follow an error's location through the models.

    Returns:
        The model that owns the last key, and the location without the tags of unions.
    """
    annotation: Any = config
    owner: type[BaseModel] | None = None
    shown: list[str | int] = []
    for part in location:
        options = _models(annotation)
        tagged = [m for m in options if _kind(m) == part]
        if len(options) > 1 and tagged:
            annotation = tagged[0]
            continue
        shown.append(part)
        if options:
            owner = options[0]
            field = owner.model_fields.get(str(part))
            annotation = field.annotation if field else None
        else:
            annotation = _item(annotation)
    return owner, shown


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models that an annotation admits."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (dict, tuple, list):
        return []
    return [m for a in get_args(annotation) for m in _models(a)]


def _item(annotation: Any) -> Any:
    """What the values of a dict or the items of a tuple are annotated with."""
    args = get_args(annotation)
    if get_origin(annotation) is dict:
        return args[1]
    return args[0] if args else None


def _kind(model: type[BaseModel]) -> str | None:
    field = model.model_fields.get("kind")
    return None if field is None else field.default
