"""Structures from the Materials Project (Jain et al., APL Mater. 1, 011002, 2013), by mp-api.

The key comes from the environment variable MP_API_KEY alone: a config is shared, a key is not.
MP_API_ENDPOINT names another server of the same interface, as mp-api has it. Databases change: what
a query brought is kept in the structures table, and Snakemake asks again only when the source's
settings change.
"""

import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from math import ceil
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, field_validator, model_validator
from pymatgen.core import Structure

from rhoflow.crystal import known_elements
from rhoflow.errors import ConfigError, DataError, EngineError, RhoflowError
from rhoflow.spec import Spec
from rhoflow.structures.candidates import ONE_ENTRY, Candidate, once_each
from rhoflow.structures.reading import ID_LENGTH, attempt, build, one_line, symbol_of

if TYPE_CHECKING:
    from rhoflow.structures.web import Web

log = logging.getLogger(__name__)

WHAT = "Materials Project"
KEY = "MP_API_KEY"
ENDPOINT = "MP_API_ENDPOINT"
_DEFAULT_ENDPOINT = "https://api.materialsproject.org/"
_PAGE = 500
_KEY_LENGTH = 32
# What a server says is logged only where it looks like a version.
_VERSION = re.compile(r"[\w.\-]{1,40}", flags=re.ASCII)


class MaterialsProjectSource(Spec):
    """A query to the Materials Project; the key is read from the environment (MP_API_KEY)."""

    kind: Literal["materials_project"] = Field(
        default="materials_project", description="a query to the Materials Project"
    )
    algorithm: Literal[1] = Field(
        default=1, description="version of the numbers that this step gives"
    )
    elements: tuple[str, ...] = Field(
        default=("O",), description="elements that every structure contains (symbols)"
    )
    exclude_elements: tuple[str, ...] = Field(
        default=(), description="elements that no structure contains (symbols)"
    )
    ids: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=10_000,
        description="Materials Project ids such as mp-1265; null for all that match the rest",
    )
    min_sites: int | None = Field(
        default=None, ge=1, description="fewest atoms in the cell of the database (atoms)"
    )
    max_sites: int | None = Field(
        default=None, ge=1, description="most atoms in the cell of the database (atoms)"
    )
    max_energy_above_hull_ev: float | None = Field(
        default=None, ge=0, description="highest energy above the convex hull, in eV per atom"
    )
    is_stable: bool | None = Field(
        default=None, description="only structures on the convex hull, or only others; null: both"
    )
    min_band_gap_ev: float | None = Field(
        default=None, ge=0, description="smallest band gap that the database lists, in eV"
    )
    max_band_gap_ev: float | None = Field(
        default=None, ge=0, description="largest band gap that the database lists, in eV"
    )
    limit: int = Field(
        default=1000,
        ge=1,
        le=200_000,
        description="read the first so many entries, in the order of their ids (structures)",
    )
    timeout_s: float = Field(
        default=60.0, gt=0, le=3600, description="longest wait for one request, in s"
    )
    retries: int = Field(
        default=3, ge=0, le=10, description="attempts after the first that a request gets"
    )

    @field_validator("elements", "exclude_elements")
    @classmethod
    def _elements_exist(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        return known_elements(symbols)

    @field_validator("ids")
    @classmethod
    def _ids_look_like_ids(cls, ids: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for name in ids or ():
            prefix, dash, rest = name.partition("-")
            if not (dash and prefix.isalpha() and rest.isalnum() and name.isascii()):
                raise ValueError(f"'{name}' is no Materials Project id; expected one as 'mp-1265'")
        return ids

    @model_validator(mode="after")
    def _ranges_are_not_empty(self) -> Self:
        for name, low, high in (
            ("sites", self.min_sites, self.max_sites),
            ("band_gap_ev", self.min_band_gap_ev, self.max_band_gap_ev),
        ):
            if low is not None and high is not None and low > high:
                raise ValueError(
                    f"min_{name} = {low:g} is more than max_{name} = {high:g}; nothing would match"
                )
        return self


def materials_project_steps() -> dict[str, str]:
    """The source's own rows of the funnel, with what passes each."""
    return {ONE_ENTRY: "the first entry of every id"}


def read_materials_project(spec: MaterialsProjectSource) -> Iterator[Candidate]:
    """Yield the structures that the query returns; ``source_id`` is the Materials Project's id.

    Raises:
        ConfigError: no key is set, or the database refuses it.
        EngineError: mp-api is not installed.
        DataError: the database cannot be reached or answers with something else than structures.
    """
    key = os.environ.get(KEY, "").strip()
    if not key:
        raise ConfigError(
            f"the source 'materials_project' needs your key, and the environment variable {KEY} is "
            "not set. Get one at https://materialsproject.org/api (free, after login) and set it "
            f"before you start: export {KEY}=... ; it never belongs in a config file"
        )
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ConfigError(f"the key in {KEY} holds blanks or signs that no key has; copy it anew")
    if len(key) != _KEY_LENGTH:
        raise ConfigError(
            f"the key in {KEY} has {len(key)} characters; a key of the Materials Project has "
            f"{_KEY_LENGTH}. Copy it anew from https://materialsproject.org/api"
        )
    documents = _documents(spec, key)
    return once_each(_candidate(d, n) for n, d in enumerate(documents, start=1))


def _documents(spec: MaterialsProjectSource, key: str) -> list[Any]:
    """All documents that match, at most ``limit``, by the real client over bounded requests."""
    from rhoflow.structures.web import Web

    endpoint = os.environ.get(ENDPOINT, "").strip() or _DEFAULT_ENDPOINT
    endpoint = endpoint if endpoint.endswith("/") else endpoint + "/"
    # Left to itself, the client would wait for ever at its first request, and send the key along
    # wherever a redirection leads.
    limits: dict[str, Any] = {"timeout_s": spec.timeout_s, "retries": spec.retries, "max_mb": 200.0}
    totals: list[int] = []
    with Web(**limits, what=WHAT, secret=key) as web:
        web.listeners.append(lambda body: _note_total(body, totals))
        try:
            found = _client(endpoint, key, web).search(**_query(spec))
        except Exception as error:  # mp-api raises its own errors and those of what it parses
            raise _explained(error, key) from None
    expected = min(totals[-1] if totals else 0, spec.limit)
    if len(found) < expected:
        raise DataError(f"{WHAT}: {len(found)} of {expected} structures arrived; try again later")
    if totals and totals[-1] > spec.limit:
        log.warning("%s: %d structures match, limit = %d", WHAT, totals[-1], spec.limit)
    return list(found)[: spec.limit]


def _client(endpoint: str, key: str, web: "Web") -> Any:
    """mp-api's client of summaries, its start-up request made by ``web``."""
    try:
        from mp_api.client.routes.materials.summary import SummaryRester
    except ImportError as error:
        raise EngineError(
            "the source 'materials_project' needs the package mp-api, which is not installed here "
            f"({error}): pip install mp-api"
        ) from None

    class Client(SummaryRester):
        @staticmethod
        def _get_heartbeat_info(endpoint: str) -> tuple[str, list[str]]:
            from rhoflow.structures.web import read_json

            info = read_json(web.get(f"{endpoint}heartbeat"), WHAT)
            version = info.get("db_version")
            if isinstance(version, str) and _VERSION.fullmatch(version) and key not in version:
                log.info("%s, database version %s", WHAT, version)
            return str(info.get("db_version", "")), list(
                info.get("access_controlled_batch_ids", [])
            )

    web.headers["x-api-key"] = key
    return Client(
        api_key=key,
        endpoint=endpoint,
        session=web,
        use_document_model=False,
        mute_progress_bars=True,
        timeout=ceil(web.timeout_s),
    )


def _query(spec: MaterialsProjectSource) -> dict[str, Any]:
    """The arguments of the client's search."""
    hull = spec.max_energy_above_hull_ev
    criteria = {
        "elements": list(spec.elements) or None,
        "exclude_elements": list(spec.exclude_elements) or None,
        "material_ids": list(spec.ids) if spec.ids else None,
        "num_sites": _range(spec.min_sites, spec.max_sites),
        "energy_above_hull": None if hull is None else (None, hull),
        "is_stable": spec.is_stable,
        "band_gap": _range(spec.min_band_gap_ev, spec.max_band_gap_ev),
    }
    page = min(_PAGE, spec.limit)
    return {name: value for name, value in criteria.items() if value is not None} | {
        "fields": ["material_id", "structure"],
        "all_fields": False,
        # A number of pages also keeps the client from fetching its whole database as files.
        "num_chunks": ceil(spec.limit / page),
        "chunk_size": page,
        "_sort_fields": "material_id",
    }


def _range(low: float | None, high: float | None) -> tuple[float | None, float | None] | None:
    return None if low is None and high is None else (low, high)


def _note_total(body: bytes, totals: list[int]) -> None:
    """Remember how many documents the database says that match."""
    try:
        total = json.loads(body)["meta"]["total_doc"]
    except (LookupError, RecursionError, TypeError, ValueError):
        return
    if isinstance(total, int):
        totals.append(total)


def _explained(error: Exception, key: str) -> RhoflowError:
    """An error for the user, without the key wherever a server may have repeated it."""
    text = str(error).replace(key, "***")
    if isinstance(error, (ConfigError, EngineError)):
        return type(error)(text)
    if any(f"status code {n}" in text or f"status {n}" in text for n in (401, 403)):
        return ConfigError(
            f"{WHAT} refuses the key in {KEY} ({one_line(text, 300)}). See "
            "https://materialsproject.org/api for the one that is valid"
        )
    if isinstance(error, DataError):
        return DataError(text)
    name = type(error).__name__
    return DataError(f"{WHAT}: the query failed ({name}: {one_line(text, 300)})")


def _candidate(document: object, number: int) -> Candidate:
    name = document.get("material_id") if isinstance(document, Mapping) else None
    source_id = one_line(name, ID_LENGTH) if isinstance(name, str) else ""
    if not source_id:
        return Candidate(f"entry-{number}", None, "entry without id")
    return attempt(source_id, structure_of_document, document)


def structure_of_document(document: Mapping[str, Any]) -> Structure:
    """The crystal of a summary document.

    The numbers are taken one by one: pymatgen's own decoder imports whatever class the text names.

    Raises:
        ValueError, KeyError and others of ``reading.PARSE_ERRORS``: it holds no such structure.
    """
    content = document["structure"]
    if not isinstance(content, Mapping):
        raise ValueError("no structure")
    species = [
        {symbol_of(str(s["element"])): float(s["occu"]) for s in site["species"]}
        for site in content["sites"]
    ]
    coords = [site["abc"] for site in content["sites"]]
    return build(content["lattice"]["matrix"], species, coords)
