"""Structures from any database that speaks OPTIMADE (Andersen et al., Sci. Data 8, 217, 2021).

The answer is read page by page. A page that fails after all attempts ends the query with an error:
a sample of what happened to arrive would differ from run to run. One entry that cannot be used is
a candidate without structure. Databases change: what a query brought is kept in the structures
table, and Snakemake asks again only when the source's settings change.
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlencode, urlsplit

from pydantic import Field, field_validator
from pymatgen.core import Structure

from rhoflow.errors import ConfigError, DataError
from rhoflow.spec import Spec
from rhoflow.structures.candidates import ONE_ENTRY, Candidate, once_each
from rhoflow.structures.reading import ID_LENGTH, attempt, build, one_line, symbol_of

if TYPE_CHECKING:
    from rhoflow.structures.web import Web

log = logging.getLogger(__name__)

FIELDS = (
    "id",
    "lattice_vectors",
    "cartesian_site_positions",
    "species",
    "species_at_sites",
    "dimension_types",
    "nsites",
    "structure_features",
)
"""What is asked of each structure."""

# Features that leave open which atoms there are, or where; disorder shows in the occupancies.
_OPEN = {
    "unknown_positions": "positions of some atoms are unknown",
    "implicit_atoms": "atoms without sites",
    "site_attachments": "atoms attached to sites without positions of their own",
    "assemblies": "sites that are occupied together or in turn (assemblies)",
}


class OptimadeSource(Spec):
    """A query to an OPTIMADE database: COD, Materials Project, OQMD, AFLOW and many others."""

    kind: Literal["optimade"] = Field(
        default="optimade", description="a query to any OPTIMADE database"
    )
    algorithm: Literal[1] = Field(
        default=1, description="version of the numbers that this step gives"
    )
    base_url: str = Field(
        description="address of the database's OPTIMADE interface, such as "
        "https://optimade.materialsproject.org; version 1 is asked"
    )
    filter: str = Field(
        default='elements HAS "O"',
        max_length=2000,
        description="which structures, in OPTIMADE's filter language; empty for all",
    )
    sort: str | None = Field(
        default=None,
        pattern=r"^-?[a-z_][a-z0-9_]*$",
        description="property that the database sorts by, such as id, so that it is certain which "
        "structures a limit keeps; null for the database's own order, as not every one can sort",
    )
    limit: int = Field(
        default=1000, ge=1, le=200_000, description="read the first so many entries (structures)"
    )
    page_size: int = Field(
        default=100, ge=1, le=1000, description="entries asked for in one request (structures)"
    )
    max_page_mb: float = Field(
        default=50.0, gt=0, description="largest answer to one request, in MB (10^6 bytes)"
    )
    timeout_s: float = Field(
        default=60.0, gt=0, le=3600, description="longest wait for one request, in s"
    )
    retries: int = Field(
        default=3, ge=0, le=10, description="attempts after the first that a request gets"
    )

    @field_validator("base_url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise ValueError(
                f"'{url}' is no web address; expected one such as "
                "https://optimade.materialsproject.org"
            )
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("give the plain address: no user, password, query or fragment in it")
        last = parts.path.rstrip("/").rpartition("/")[2]
        if last.startswith("v") and last[1:2].isdigit() and last.split(".")[0] != "v1":
            raise ValueError(f"version {last} of OPTIMADE is not read; give the address before it")
        return url

    @property
    def endpoint(self) -> str:
        """Address of the list of structures, version 1."""
        base = self.base_url.rstrip("/")
        versioned = base.rpartition("/")[2].split(".")[0] == "v1"
        return f"{base}/structures" if versioned else f"{base}/v1/structures"


def optimade_steps() -> dict[str, str]:
    """The source's own rows of the funnel, with what passes each."""
    return {ONE_ENTRY: "the first entry of every id"}


def read_optimade(spec: OptimadeSource) -> Iterator[Candidate]:
    """Yield the structures that a database returns, in its order.

    ``source_id`` is the database's id, or made from the entry's content where a server gives none.

    Raises:
        ConfigError: the database refuses the query.
        DataError: it cannot be reached, does not speak OPTIMADE version 1, or a page of its answer
            is missing (while iterating).
    """
    from rhoflow.structures.web import Web

    with Web(
        timeout_s=spec.timeout_s,
        retries=spec.retries,
        max_mb=spec.max_page_mb,
        what=f"optimade database {spec.base_url}",
    ) as web:
        web.headers["accept"] = "application/vnd.api+json, application/json"
        yield from once_each(_candidates(spec, web))


def _candidates(spec: OptimadeSource, web: "Web") -> Iterator[Candidate]:
    number = 0
    for entries, more in _pages(spec, web):
        kept = entries[: spec.limit - number]
        for entry in kept:
            number += 1
            yield _candidate(entry, number)
        if number == spec.limit:
            if more or len(kept) < len(entries):
                log.warning("%s: more structures match than limit = %d", web.what, spec.limit)
            return


def _pages(spec: OptimadeSource, web: "Web") -> Iterator[tuple[list[Any], bool]]:
    """The entries of each page, along ``links.next``, and whether there are more."""
    query = {
        "filter": spec.filter.strip(),
        "sort": spec.sort or "",
        "page_limit": str(min(spec.page_size, spec.limit)),
        "response_format": "json",
        "response_fields": ",".join(FIELDS),
    }
    url = f"{spec.endpoint}?{urlencode({k: v for k, v in query.items() if v})}"
    seen = set()
    while url:
        seen.add(url)
        content = _page(url, spec, web)
        entries = content["data"]
        url = _next_url(content, url, web.what)
        if url and not entries:
            raise DataError(f"{web.what}: an empty page that names a next one")
        if url in seen:
            raise DataError(f"{web.what}: its pages go round in a circle")
        yield entries, bool(url)
        if not url and _meta(content).get("more_data_available") is True:
            raise DataError(f"{web.what}: it says that there is more, but names no next page")


def _page(url: str, spec: OptimadeSource, web: "Web") -> dict[str, Any]:
    """One page, once it is certain that it is one."""
    from rhoflow.structures.web import RefusedError, read_json

    try:
        content = read_json(web.get(url), web.what)
    except RefusedError as error:
        if error.status != 400:
            raise
        raise ConfigError(f"{error}. Check the source's filter: {spec.filter!r}") from None
    version = str(_meta(content).get("api_version", ""))
    if version.lstrip("v").split(".")[0] != "1":
        raise DataError(
            f"{web.what}: OPTIMADE version {one_line(version, 20) or 'not stated'}, expected 1. Is "
            "base_url the address of an OPTIMADE interface?"
        )
    if not isinstance(content.get("data"), list):
        raise DataError(f"{web.what}: an answer without a list of structures under 'data'")
    return content


def _meta(content: Mapping[str, Any]) -> Mapping[str, Any]:
    meta = content.get("meta")
    return meta if isinstance(meta, Mapping) else {}


def _next_url(content: Mapping[str, Any], current: str, what: str) -> str:
    """Where the next page is: text or an object with ``href``; empty after the last."""
    from rhoflow.structures.web import joined, same_host

    links = content.get("links")
    following = links.get("next") if isinstance(links, Mapping) else None
    if isinstance(following, Mapping):
        following = following.get("href")
    if not following:
        return ""
    target = joined(current, str(following))
    # Behind a proxy, servers take themselves for plain http: stay with how they were asked.
    if current.startswith("https:") and target.startswith("http:"):
        target = f"https:{target.removeprefix('http:')}"
    if not same_host(current, target):
        raise DataError(
            f"{what}: its next page is on another host ({one_line(target, 100)}). If that is "
            "right, give that host's address as base_url"
        )
    return target


def _candidate(entry: object, number: int) -> Candidate:
    if not isinstance(entry, Mapping):
        return Candidate(f"entry-{number}", None, "an entry that is no object")
    name = entry.get("id")
    source_id = one_line(name, ID_LENGTH) if isinstance(name, (str, int)) else ""
    return attempt(source_id or _name_of(entry), structure_of_entry, entry)


def _name_of(entry: Mapping[str, Any]) -> str:
    """A name for an entry whose server gives none, the same wherever it stands in the answer."""
    told = json.dumps(entry.get("attributes"), sort_keys=True)
    return f"unnamed-{hashlib.sha256(told.encode()).hexdigest()[:12]}"


def structure_of_entry(entry: Mapping[str, Any]) -> Structure:
    """The crystal of an entry of OPTIMADE's ``structures``; shared sites keep their occupancies.

    Raises:
        ValueError, KeyError and others of ``reading.PARSE_ERRORS``: it is not a crystal in three
            dimensions with all atoms at known places.
    """
    data = entry["attributes"]
    features = [f for f in data.get("structure_features") or [] if f in _OPEN]
    if features:
        raise ValueError("; ".join(_OPEN[f] for f in features))
    periodic = data.get("dimension_types")
    if periodic is not None and list(periodic) != [1, 1, 1]:
        raise ValueError(f"periodic in {sum(periodic)} of 3 directions, expected 3")
    names = _given(data, "species_at_sites")
    positions = _given(data, "cartesian_site_positions")
    if data.get("nsites") not in (None, len(names)):
        raise ValueError(f"nsites is {data['nsites']}, but species_at_sites has {len(names)}")
    occupancies = {s["name"]: _occupancy(s) for s in _given(data, "species")}
    unknown = sorted({str(n) for n in names} - {str(n) for n in occupancies})
    if unknown:
        raise ValueError(f"sites of undefined species {one_line(', '.join(unknown), 60)}")
    sites = [occupancies[name] for name in names]
    return build(_given(data, "lattice_vectors"), sites, positions, cartesian=True)


def _given(data: Mapping[str, Any], field: str) -> Any:
    value = data.get(field)
    if not value:
        raise ValueError(f"no {field}")
    return value


def _occupancy(species: Mapping[str, Any]) -> dict[str, float]:
    """Element symbol -> share of a site; a vacancy is what is missing to one."""
    if any(species.get("nattached") or ()):
        raise ValueError(_OPEN["site_attachments"])
    shares: dict[str, float] = {}
    symbols, concentrations = species["chemical_symbols"], species["concentration"]
    if len(symbols) != len(concentrations):
        raise ValueError(f"{len(symbols)} symbols and {len(concentrations)} concentrations")
    for name, share in zip(symbols, concentrations, strict=True):
        if not 0 <= float(share) <= 1 + 1e-6:
            raise ValueError(f"concentration {share} of {one_line(name, 20)}")
        if name != "vacancy" and share:
            symbol = symbol_of(str(name))
            shares[symbol] = shares.get(symbol, 0.0) + float(share)
    if not shares:
        raise ValueError(f"species {one_line(species['name'], 20)} holds no atom")
    # Databases write a full site as 0.9999999 now and then.
    if len(shares) == 1 and abs(sum(shares.values()) - 1) < 1e-4:
        return dict.fromkeys(shares, 1.0)
    return shares
