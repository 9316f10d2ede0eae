"""Structures from a folder of ICSD exports, filtered by what their CIF files state about them.

An entry states where and how well its structure was measured: temperature, pressure, R value, the
year of publication, the dates of its record, and in a remark that it was calculated. Each filter
that the spec sets is a row of the funnel. Where an entry states nothing, ``accept_unstated``
decides; ICSD leaves out conditions that are ambient.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from rhoflow.spec import Spec
from rhoflow.structures.candidates import ONE_ENTRY, Candidate
from rhoflow.structures.cif import CifBlock, blocks_of_file, structure_of
from rhoflow.structures.folder import files_in, fingerprint_of, names_in, problem_of_file, user_path
from rhoflow.structures.quantities import FRACTION, KELVIN, KILOPASCAL, Units, stated_quantity
from rhoflow.structures.reading import PARSE_ERRORS, attempt, one_line, unreadable

EXPERIMENTAL = "measured, not calculated"
TEMPERATURE = "temperature"
PRESSURE = "pressure"
R_VALUE = "R value"
YEAR = "year of publication"
RECORDED = "date of the record"

_CODE = re.compile(r"0*(\d{1,12})\Z")
_DATE = re.compile(r"\b(\d{4})-(\d{1,2})-(\d{1,2})\b")
_YEAR = re.compile(r"\b(1[89]\d\d|20\d\d)\b")
_R_TAGS = (
    "_refine_ls_r_factor_all",
    "_refine_ls_r_factor_gt",
    "_refine_ls_r_factor_obs",
    "_refine_ls_r_i_factor",
)
# Where each quantity is stated, and in which units.
_QUANTITIES: dict[str, tuple[tuple[str, ...], Units]] = {
    TEMPERATURE: (("_cell_measurement_temperature", "_diffrn_ambient_temperature"), KELVIN),
    PRESSURE: (("_cell_measurement_pressure", "_diffrn_ambient_pressure"), KILOPASCAL),
    R_VALUE: (_R_TAGS, FRACTION),
}
# A title may speak of theory in a paper that measures; only remarks and methods tell.
_REMARKS = re.compile(r"_(special_details|comment|remarks?|determination_method|exptl_method)$")
_CALCULATED = re.compile(
    r"calculated theoretically|theoretically (calculated|predicted|derived)|"
    r"theoretical (structure|model|calculation|prediction)|(structure|coordinates) (was |were )?"
    r"(calculated|predicted)|predicted structure|ab[ -]initio (calculation|structure prediction)|"
    r"density[ -]functional|\bDFT\b|^\s*theoretical\s*$",
    flags=re.IGNORECASE | re.MULTILINE,
)


class ICSDSource(Spec):
    """A folder of CIF files exported from ICSD, searched recursively, with filters on quality."""

    kind: Literal["icsd"] = Field(default="icsd", description="a folder of ICSD exports (CIF)")
    algorithm: Literal[1] = Field(
        default=1, description="version of the numbers that this step gives"
    )
    path: str = Field(description="folder that is searched recursively for *.cif")
    max_file_mb: float = Field(
        default=500.0, gt=0, description="larger files are rejected unread, in MB (10^6 bytes)"
    )
    accept_theoretical: bool = Field(
        default=False,
        description="whether to keep entries whose remarks say that the structure was calculated",
    )
    min_temperature_k: float | None = Field(
        default=None, ge=0, description="lowest temperature of the measurement, in K"
    )
    max_temperature_k: float | None = Field(
        default=None, ge=0, description="highest temperature of the measurement, in K"
    )
    max_pressure_kpa: float | None = Field(
        default=None,
        ge=0,
        description="highest pressure of the measurement, in kPa, the unit of CIF (101.325 is "
        "ambient)",
    )
    max_r_value: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="largest R value of the refinement, as a fraction: 0.05 for 5 %",
    )
    min_year: int | None = Field(default=None, description="earliest year of publication")
    max_year: int | None = Field(default=None, description="latest year of publication")
    recorded_until: date | None = Field(
        default=None,
        description="latest date at which the entry was made (YYYY-MM-DD), to go back to an "
        "earlier release of the database",
    )
    accept_unstated: bool = Field(
        default=True,
        description="whether an entry passes a filter on something that it does not state; what it "
        "states in a way that cannot be read never passes",
    )

    @model_validator(mode="after")
    def _ranges_are_not_empty(self) -> Self:
        for name, low, high in (
            ("temperature_k", self.min_temperature_k, self.max_temperature_k),
            ("year", self.min_year, self.max_year),
        ):
            if low is not None and high is not None and low > high:
                raise ValueError(
                    f"min_{name} = {low:g} is more than max_{name} = {high:g}; nothing would pass"
                )
        return self


@dataclass(frozen=True)
class Entry:
    """What an ICSD entry states about itself; None where it states nothing.

    Attributes:
        code: collection code.
        temperature_k: temperature of the measurement in K.
        pressure_kpa: pressure of the measurement in kPa.
        r_value: R value of the refinement, a fraction.
        year: year of publication.
        recorded: date at which the entry was made.
        theoretical: the remark that says that the structure was calculated.
        unclear: step of the funnel -> what the entry states there that cannot be read.
    """

    code: str | None
    temperature_k: float | None
    pressure_kpa: float | None
    r_value: float | None
    year: int | None
    recorded: date | None
    theoretical: str | None
    unclear: Mapping[str, str] = field(default_factory=dict)


def read_entry(block: CifBlock) -> Entry:
    """Read what a data block states beside its structure."""
    code = next((m[1] for v in block.stated("_database_code_icsd") if (m := _CODE.match(v))), None)
    told = {step: _quantity(block, tags, units) for step, (tags, units) in _QUANTITIES.items()}
    return Entry(
        code=code,
        temperature_k=told[TEMPERATURE][0],
        pressure_kpa=told[PRESSURE][0],
        r_value=told[R_VALUE][0],
        year=_year(block),
        recorded=_date(block.stated("_audit_creation_date", "_audit_update_record")),
        theoretical=_remark_on_theory(block),
        unclear={step: text for step, (_, text) in told.items() if text},
    )


def _quantity(block: CifBlock, tags: tuple[str, ...], units: Units) -> tuple[float | None, str]:
    """The first number that one of several tags states; else the first text that is none."""
    unclear = ""
    for tag in tags:
        value, text = stated_quantity(block.stated(tag), units)
        if value is not None:
            return value, ""
        unclear = unclear or text
    return None, unclear


def _year(block: CifBlock) -> int | None:
    """Year of the primary citation, else of the first, else of the journal."""
    ids = block.tags.get("_citation_id", ())
    years = block.tags.get("_citation_year", ())
    primary = [y for i, y in zip(ids, years, strict=False) if i.lower() == "primary"]
    for value in (*primary, *years, *block.stated("_journal_year")):
        if match := _YEAR.search(value):
            return int(match[1])
    return None


def _date(values: list[str]) -> date | None:
    for value in values:
        for match in _DATE.finditer(value):
            try:
                return date(*(int(part) for part in match.groups()))
            except ValueError:
                continue
    return None


def _remark_on_theory(block: CifBlock) -> str | None:
    for tag, values in block.tags.items():
        if _REMARKS.search(tag):
            for value in values:
                if match := _CALCULATED.search(value):
                    return one_line(match[0], 60)
    return None


@dataclass(frozen=True)
class _Filter:
    """A row of the funnel: what passes, and how to look at an entry."""

    detail: str
    value: Callable[[Entry], Any]
    low: Any
    high: Any
    unit: str = ""

    def problem(self, entry: Entry, step: str, *, accept_unstated: bool) -> str:
        """Why an entry falls; empty if it passes."""
        value = self.value(entry)
        if value is None and step in entry.unclear:
            return f"{step} stated as '{entry.unclear[step]}', which is no single value"
        if value is None:
            return "" if accept_unstated else f"{step} not stated"
        shown = f"{step} {_shown(value)}{self.unit}"
        if self.low is not None and value < self.low:
            return f"{shown}, less than {_shown(self.low)}{self.unit}"
        if self.high is not None and value > self.high:
            return f"{shown}, more than {_shown(self.high)}{self.unit}"
        return ""


def _shown(value: float | date) -> str:
    return value.isoformat() if isinstance(value, date) else f"{value:.10g}"


def _filters(spec: ICSDSource) -> dict[str, _Filter]:
    """The filters that a spec sets, in the order of the funnel."""
    rows = {
        TEMPERATURE: (
            lambda e: e.temperature_k, spec.min_temperature_k, spec.max_temperature_k, " K",
        ),
        PRESSURE: (lambda e: e.pressure_kpa, None, spec.max_pressure_kpa, " kPa"),
        R_VALUE: (lambda e: e.r_value, None, spec.max_r_value, ""),
        YEAR: (lambda e: e.year, spec.min_year, spec.max_year, ""),
        RECORDED: (lambda e: e.recorded, None, spec.recorded_until, ""),
    }  # fmt: skip
    unstated = "" if spec.accept_unstated else ", and stated"
    found: dict[str, _Filter] = {}
    for step, (value, low, high, unit) in rows.items():
        parts = [f"at least {_shown(low)}{unit}"] if low is not None else []
        parts += [f"at most {_shown(high)}{unit}"] if high is not None else []
        if parts:
            found[step] = _Filter(" and ".join(parts) + unstated, value, low, high, unit)
    return found


def icsd_steps(spec: ICSDSource) -> dict[str, str]:
    """The source's own rows of the funnel, in order, with what passes each."""
    steps = {ONE_ENTRY: "the first of every collection code"}
    if not spec.accept_theoretical:
        steps[EXPERIMENTAL] = "no remark says that the structure was calculated"
    return steps | {step: row.detail for step, row in _filters(spec).items()}


def read_icsd(spec: ICSDSource) -> Iterator[Candidate]:
    """Yield the entries of a folder of ICSD exports, in the order of the sorted paths.

    ``source_id`` is ``icsd-`` and the collection code. Where that is missing, and where it has come
    before, it is the path, followed by ``#number-name`` where a file holds several data blocks.

    Raises:
        ConfigError: the folder is missing or holds no CIF file.
    """
    return _entries(spec, icsd_files(spec), user_path(spec.path, "icsd"))


def icsd_files(spec: ICSDSource) -> list[Path]:
    """The CIF files of the folder, sorted.

    Raises:
        ConfigError: the folder is missing or holds none.
    """
    return files_in(
        spec.path, lambda p: p.name.lower().endswith(".cif"), kind="icsd", expected="*.cif"
    )


def icsd_fingerprint(spec: ICSDSource) -> str:
    """SHA-256 of the names, sizes and times of the files that ``read_icsd`` reads.

    Raises:
        ConfigError: as ``read_icsd``.
    """
    return fingerprint_of(icsd_files(spec), user_path(spec.path, "icsd"))


def _entries(spec: ICSDSource, paths: list[Path], folder: Path) -> Iterator[Candidate]:
    filters = _filters(spec)
    first_of: dict[str, str] = {}
    for path, name in zip(paths, names_in(paths, folder), strict=True):
        problem = problem_of_file(path, spec.max_file_mb)
        if problem:
            yield Candidate(name, None, problem)
            continue
        try:
            found = blocks_of_file(path, name)
        except PARSE_ERRORS as error:
            yield unreadable(name, error)
            continue
        for block_id, text in found:
            yield _candidate(CifBlock(text), block_id, spec, filters, first_of)


def _candidate(
    block: CifBlock,
    block_id: str,
    spec: ICSDSource,
    filters: dict[str, _Filter],
    first_of: dict[str, str],
) -> Candidate:
    """One entry, after the filters; ``first_of`` remembers where each code came first."""
    entry = read_entry(block)
    candidate = attempt(f"icsd-{entry.code}" if entry.code else block_id, structure_of, block)
    if candidate.structure is None:
        return Candidate(candidate.source_id, None, candidate.reason)
    if entry.code:
        if entry.code in first_of:
            reason = f"collection code {entry.code} again, first in {first_of[entry.code]}"
            return Candidate(block_id, None, reason, step=ONE_ENTRY)
        first_of[entry.code] = block_id
    if entry.theoretical and not spec.accept_theoretical:
        reason = f"remark: {entry.theoretical}"
        return Candidate(candidate.source_id, None, reason, step=EXPERIMENTAL)
    for step, row in filters.items():
        problem = row.problem(entry, step, accept_unstated=spec.accept_unstated)
        if problem:
            return Candidate(candidate.source_id, None, problem, step=step)
    return candidate
