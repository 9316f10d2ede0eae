"""The Materials Project through its own client, against a server on this machine."""

import json
import logging
import time

import pytest
from pydantic import ValidationError
from tests.servers import Reply, serve

from rhoflow.errors import ConfigError, DataError, EngineError
from rhoflow.structures import materials_project, web
from rhoflow.structures.materials_project import (
    MaterialsProjectSource,
    read_materials_project,
    structure_of_document,
)

pytest.importorskip("mp_api", reason="mp-api is not installed")

KEY = "0123456789abcdefghijklmnopqrstuv"
A = 2.106


def document(name="mp-1265", **changes):
    structure = {
        "@module": "pymatgen.core.structure",
        "@class": "Structure",
        "lattice": {"matrix": [[0, A, A], [A, 0, A], [A, A, 0]]},
        "sites": [
            {"species": [{"element": "Mg", "occu": 1}], "abc": [0, 0, 0]},
            {"species": [{"element": "O", "occu": 1}], "abc": [0.5, 0.5, 0.5]},
        ],
    }
    return {"material_id": name, "structure": {**structure, **changes}}


def database(*documents, heartbeat=None, total=None):
    """Answers like the real interface: a heartbeat, then summaries in pages."""

    def answer(request):
        if request.path == "/heartbeat":
            told = {"db_version": "2026.1", "access_controlled_batch_ids": []}
            return heartbeat or Reply(json.dumps(told))
        skip, limit = int(request.query.get("_skip", 0)), int(request.query["_limit"])
        meta = {"total_doc": len(documents) if total is None else total}
        return Reply(json.dumps({"data": documents[skip : skip + limit], "meta": meta}))

    return answer


def summaries(reply):
    """A database whose heart beats but whose summaries are the one given reply."""
    beat = database()
    return lambda request: beat(request) if request.path == "/heartbeat" else reply


@pytest.fixture(autouse=True)
def _key_and_short_pauses(monkeypatch):
    monkeypatch.setenv("MP_API_KEY", KEY)
    monkeypatch.setattr(web, "_FIRST_PAUSE_S", 0.01)


@pytest.fixture
def read(monkeypatch):
    def read_from(answer, **settings):
        with serve(answer) as server:
            monkeypatch.setenv("MP_API_ENDPOINT", server.url)
            spec = MaterialsProjectSource(**{"retries": 1, "timeout_s": 5, **settings})
            read_from.requests = server.requests
            return list(read_materials_project(spec))

    return read_from


def test_the_query_reaches_the_database_and_its_pages_come_back(read, monkeypatch):
    monkeypatch.setattr(materials_project, "_PAGE", 3)
    documents = [document(f"mp-{i}") for i in range(8)]

    candidates = read(
        database(*documents), elements=("O", "Mg"), exclude_elements=("H",), max_sites=9,
        max_energy_above_hull_ev=0.05, is_stable=True, min_band_gap_ev=0.5, limit=7,
    )  # fmt: skip

    assert [c.source_id for c in candidates] == [f"mp-{i}" for i in range(7)]
    assert all(c.structure is not None and c.structure.formula == "Mg1 O1" for c in candidates)
    asked = read.requests[1].query
    assert asked["elements"] == "O,Mg"
    assert asked["exclude_elements"] == "H"
    assert asked["nsites_max"] == "9"
    assert "nsites_min" not in asked
    assert asked["energy_above_hull_max"] == "0.05"
    assert asked["is_stable"] == "True"
    assert asked["band_gap_min"] == "0.5"
    assert asked["_sort_fields"] == "material_id"
    assert {r.headers["x-api-key"] for r in read.requests} == {KEY}


def test_ids_are_asked_for(read):
    read(database(document()), ids=("mp-1265", "mvc-12"), elements=())

    asked = read.requests[1].query
    assert asked["material_ids"] == "mp-1265,mvc-12"
    assert "elements" not in asked


def test_no_match_is_no_error(read):
    assert read(database()) == []


def test_broken_documents_are_rows(read):
    documents = [
        document("mp-1"),
        document("mp-2", sites="gone"),
        document("mp-3", lattice=None),
        {"material_id": "mp-4"},
        {"structure": {}},
        "text",
        document("mp-1"),
    ]

    candidates = read(database(*documents))

    assert [c.structure is not None for c in candidates] == [True] + [False] * 6
    assert [c.source_id for c in candidates[1:]] == [
        "mp-2", "mp-3", "mp-4", "entry-5", "entry-6", "mp-1",
    ]  # fmt: skip


def test_text_that_names_classes_is_not_obeyed():
    content = document()["structure"]
    content["sites"][0]["species"][0] |= {"@module": "os", "@class": "abort"}
    content["lattice"] |= {"@module": "nowhere", "@class": "Gone"}

    assert structure_of_document({"structure": content}).formula == "Mg1 O1"


def test_no_key(monkeypatch):
    for value in (None, "", "  "):
        monkeypatch.delenv("MP_API_KEY") if value is None else monkeypatch.setenv(
            "MP_API_KEY", value
        )
        with pytest.raises(ConfigError, match=r"MP_API_KEY is not set.*export MP_API_KEY="):
            read_materials_project(MaterialsProjectSource())
        monkeypatch.setenv("MP_API_KEY", "")


def test_a_key_with_a_line_break_in_it_is_not_sent(monkeypatch):
    monkeypatch.setenv("MP_API_KEY", "ab\ncd")
    with pytest.raises(ConfigError, match="copy it anew") as error:
        read_materials_project(MaterialsProjectSource())
    assert "ab" not in str(error.value).split()


def test_a_key_of_another_length_is_not_sent(monkeypatch):
    monkeypatch.setenv("MP_API_KEY", "x7" * 8)
    with pytest.raises(ConfigError, match=r"the key in MP_API_KEY has 16 characters.*has 32") as e:
        read_materials_project(MaterialsProjectSource())
    assert "x7" not in str(e.value)


@pytest.mark.parametrize("version", [f'"{KEY}"', '"two\\nlines"', '"' + "9" * 41 + '"', "7", "{}"])
def test_only_what_looks_like_a_version_is_logged(read, caplog, version):
    caplog.set_level(logging.DEBUG)
    escaped = version.replace(KEY, "".join(f"\\u{ord(c):04x}" for c in KEY))

    read(database(document(), heartbeat=Reply(f'{{"db_version": {escaped}}}')))

    assert "database version" not in caplog.text
    assert KEY not in caplog.text
    read(database(document()))
    assert "database version 2026.1" in caplog.text


def test_no_client(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "mp_api.client.routes.materials.summary", None)
    with pytest.raises(EngineError, match="mp-api, which is not installed"):
        read_materials_project(MaterialsProjectSource())


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (summaries(Reply(json.dumps({"detail": f"bad key {KEY}"}), status=401)), ConfigError,
         "refuses the key in MP_API_KEY"),
        (summaries(Reply(f"<p>{KEY}</p>", status=403)), ConfigError, "refuses the key"),
        (summaries(Reply(json.dumps({"detail": "no"}), status=422)), DataError, "422"),
        (summaries(Reply("oops", status=500)), DataError, "500"),
        (summaries(Reply("<html>Maintenance</html>")), DataError, "the query failed"),
        (summaries(Reply("[]")), DataError, "the query failed"),
        (summaries(Reply(json.dumps({"data": None}))), DataError, "the query failed"),
        (summaries(Reply("{}", wait_s=9)), DataError, "timed out"),
        (summaries(Reply("{}", drip_s=0.4)), DataError, "answer not complete"),
        (summaries(Reply("", status=302, headers={"location": "http://example.org/"})), DataError,
         "redirects to another host"),
        (database(heartbeat=Reply("x", status=503)), DataError, "status 503"),
        (database(heartbeat=Reply("<html>")), DataError, "no JSON object"),
        (database(heartbeat=Reply("{}", wait_s=9)), DataError, "timed out"),
        (database(document(), total=3), DataError, "1 of 3 structures arrived"),
    ],
)  # fmt: skip
def test_a_database_that_fails_says_why_and_never_the_key(
    read, answer, kind, message, caplog, recwarn
):
    caplog.set_level(logging.DEBUG)
    started = time.monotonic()

    with pytest.raises(kind, match=message) as error:
        read(answer, timeout_s=0.5)

    told = [str(error.value), repr(error.value.__cause__), caplog.text]
    told += [str(w.message) for w in recwarn]
    assert not any(KEY in text for text in told)
    assert error.value.__suppress_context__ or error.value.__context__ is None
    assert len(str(error.value)) < 1000
    assert time.monotonic() - started < 20


def test_the_key_stays_out_of_the_settings(read):
    spec = MaterialsProjectSource()

    assert "key" not in json.dumps(spec.model_dump(mode="json")).lower()
    with pytest.raises(ValidationError):
        MaterialsProjectSource.model_validate({"api_key": KEY})


@pytest.mark.parametrize(
    "settings",
    [
        {"elements": ["Oxygen"]},
        {"ids": ["1265"]},
        {"ids": ["mp-1&x=2"]},
        {"ids": []},
        {"min_sites": 5, "max_sites": 3},
        {"min_band_gap_ev": 2, "max_band_gap_ev": 1},
        {"limit": 0},
    ],
)
def test_wrong_settings_are_refused(settings):
    with pytest.raises(ValidationError):
        MaterialsProjectSource.model_validate(settings)
