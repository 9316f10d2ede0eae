"""OPTIMADE: against the reference server, and against servers that misbehave."""

import json
import socket
import time

import numpy as np
import pytest
from pydantic import ValidationError
from tests.optimade_reference import reference_server, rocksalt_entry
from tests.servers import Reply, serve

from rhoflow.errors import ConfigError, DataError
from rhoflow.structures import web
from rhoflow.structures.candidates import ONE_ENTRY
from rhoflow.structures.optimade import (
    OptimadeSource,
    optimade_steps,
    read_optimade,
    structure_of_entry,
)
from rhoflow.structures.select import SelectionSpec, select

A = 2.106
ROCKSALT = {"Mg": 4.212, "Ca": 4.811, "Sr": 5.16, "Ba": 5.52}


def entry(name="a", **attributes):
    told = {
        "lattice_vectors": [[0, A, A], [A, 0, A], [A, A, 0]],
        "cartesian_site_positions": [[0, 0, 0], [A, A, A]],
        "species": [
            {"name": "Mg", "chemical_symbols": ["Mg"], "concentration": [1.0]},
            {"name": "oxygen", "chemical_symbols": ["O"], "concentration": [1.0]},
        ],
        "species_at_sites": ["Mg", "oxygen"],
        "dimension_types": [1, 1, 1],
        "nsites": 2,
        "structure_features": [],
    }
    return {"id": name, "type": "structures", "attributes": {**told, **attributes}}


def page(*entries, following=None, **meta):
    told = {"api_version": "1.1.0", **meta}
    return json.dumps({"data": list(entries), "links": {"next": following}, "meta": told})


def read(url, **settings):
    spec = OptimadeSource(base_url=url, **{"retries": 1, "timeout_s": 5, **settings})
    return list(read_optimade(spec))


def read_from(answer, **settings):
    with serve(answer) as server:
        return read(server.url, **settings)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(web, "_FIRST_PAUSE_S", 0.01)


# The reference server ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def random_server(tmp_path_factory):
    with reference_server(tmp_path_factory.mktemp("random")) as url:
        yield url


@pytest.fixture(scope="module")
def oxide_server(tmp_path_factory):
    entries = [rocksalt_entry(*oxide) for oxide in ROCKSALT.items()]
    with reference_server(tmp_path_factory.mktemp("oxides"), entries) as url:
        yield url


def test_all_pages_of_the_reference_server(random_server):
    candidates = read(random_server, filter="", page_size=5)

    assert len({c.source_id for c in candidates}) == len(candidates) == 17
    assert all(c.structure is not None for c in candidates)
    assert read(random_server + "/v1/", filter="", page_size=17)[3] == candidates[3]


def test_the_reference_server_filters_sorts_and_limits(random_server):
    oxides = read(random_server, filter='elements HAS "O" AND nelements<=3', sort="id")
    some = read(random_server, filter="", sort="-id", limit=4, page_size=3)

    assert oxides
    for candidate in oxides:
        assert candidate.structure is not None
        assert "O" in candidate.structure.symbol_set
    names = [c.source_id for c in some]
    assert len(names) == 4
    assert names == sorted(names, reverse=True)


def test_the_reference_server_explains_a_wrong_filter(random_server):
    with pytest.raises(ConfigError, match=r"status 400.*Check the source's filter: 'elements HAS'"):
        read(random_server, filter="elements HAS")
    with pytest.raises(DataError, match="status 404"):
        read(random_server + "/elsewhere")


def test_the_reference_server_through_the_selection(oxide_server):
    spec = OptimadeSource(base_url=oxide_server, filter='elements HAS ANY "Mg","Ca"', page_size=1)

    result = select(
        read_optimade(spec), SelectionSpec(size=2), source="optimade",
        source_steps=optimade_steps(),
    )  # fmt: skip

    assert set(result.structures.source_id) == {"rocksalt-MgO", "rocksalt-CaO"}
    assert set(result.structures.spacegroup_number) == {225}
    assert set(result.structures.source) == {"optimade"}


# Pages -------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_object", [False, True])
def test_both_forms_of_the_next_link(as_object):
    def answer(request):
        if "page" in request.query:
            return Reply(page(entry("b")))
        link = f"http://{request.headers['host']}/v1/structures?page=2"
        return Reply(page(entry("a"), following={"href": link} if as_object else link))

    assert [c.source_id for c in read_from(answer)] == ["a", "b"]


def test_what_is_asked():
    with serve(lambda request: Reply(page(entry()))) as server:
        read(server.url + "/optimade/v1", filter='elements HAS "Ti"', sort="id", page_size=7)
    (request,) = server.requests

    assert request.path == "/optimade/v1/structures"
    assert request.query["filter"] == 'elements HAS "Ti"'
    assert request.query["sort"] == "id"
    assert request.query["page_limit"] == "7"
    assert "species_at_sites" in request.query["response_fields"]


def test_a_page_is_tried_again_and_then_fails_all():
    def answer(request, tries=[]):  # noqa: B006
        tries.append(1)
        if "page" in request.query:
            return Reply("busy", status=503)
        return Reply(page(entry("a"), following=f"http://{request.headers['host']}/v1?page=2"))

    with serve(answer) as server, pytest.raises(DataError, match="status 503"):
        read(server.url, retries=2)
    assert len(server.requests) == 1 + 3


def test_a_failure_that_passes_is_not_seen():
    left = [Reply("busy", status=429, headers={"retry-after": "1"}), Reply(page(entry()))]

    assert len(read_from(lambda request: left.pop(0))) == 1


def circle(request):
    return Reply(page(entry(), following=f"http://{request.headers['host']}{'/v1/structures?x=1'}"))


def elsewhere(request):
    return Reply(page(entry(), following="http://example.org/v1/structures?page=2"))


def nonsense(request):
    return Reply(page(entry(), following="http://127.0.0.1:99999999/["))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (circle, "go round in a circle"),
        (elsewhere, "next page is on another host"),
        (nonsense, "next page is on another host"),
        (lambda r: Reply(page(entry(), more_data_available=True)), "names no next page"),
        (lambda r: Reply(page(following="/v1/structures?x=1")), "an empty page that names a next"),
        (lambda r: Reply("<html>Welcome</html>", headers={"content-type": "text/html"}),
         "text/html that is no JSON object.*Welcome"),
        (lambda r: Reply("[1, 2]"), "no JSON object"),
        (lambda r: Reply("[" * 100_000), "no JSON object"),
        (lambda r: Reply(json.dumps({"data": []})), "version not stated"),
        (lambda r: Reply(page(api_version="0.10.1")), "version 0.10.1, expected 1"),
        (lambda r: Reply(json.dumps({"data": {"a": 1}, "meta": {"api_version": "1.0"}})),
         "without a list of structures"),
        (lambda r: Reply(json.dumps({"errors": [{"detail": "on fire\n" * 99}]}), status=500),
         "status 500: on fire"),
        (lambda r: Reply("", status=301, headers={"location": "http://example.org/v1"}),
         "redirects to another host"),
        (lambda r: Reply("", status=302, headers={"location": r.path}), "redirects more than"),
        (lambda r: Reply("", status=302, headers={"location": "http://[::1"}),
         "redirects to something that is no web address"),
        (lambda r: Reply("x" * 2_000_000), "an answer of more than 1 MB"),
        (lambda r: Reply("{", headers={"content-length": "100"}), "no answer from .* after 2"),
        (lambda r: Reply(b"\x1f\x8bno", headers={"content-encoding": "gzip"}), "no answer from"),
    ],
)  # fmt: skip
def test_a_server_that_misbehaves_ends_the_query(answer, message):
    with pytest.raises(DataError, match=message) as error:
        read_from(answer, max_page_mb=1)
    assert len(str(error.value)) < 700


@pytest.mark.parametrize("reply", [Reply(page(), wait_s=9), Reply(page(), drip_s=0.05)])
def test_a_slow_server_ends_the_query_in_time(reply):
    started = time.monotonic()

    with pytest.raises(DataError, match=r"after 2 attempts \((timed out|answer not complete)"):
        read_from(lambda request: reply, timeout_s=0.4)
    assert time.monotonic() - started < 6


def test_connections_are_used_again_under_watch():
    replies = [Reply(page(entry("a"), following="/v1/structures?page=2")), Reply(page(entry("b")))]

    assert [c.source_id for c in read_from(lambda request: replies.pop(0))] == ["a", "b"]


def test_nobody_listens():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(DataError, match="no connection"):
            read(f"http://127.0.0.1:{taken.getsockname()[1]}")


def test_a_redirection_on_the_same_host_is_followed():
    def answer(request):
        if request.path.startswith("/old"):
            return Reply("", status=301, headers={"location": "/new/v1/structures"})
        return Reply(page(entry()))

    with serve(answer) as server:
        assert len(read(server.url + "/old")) == 1


# Entries -----------------------------------------------------------------------------------


def test_an_entry_becomes_its_crystal():
    structure = structure_of_entry(entry())

    assert [s.symbol for s in structure.species] == ["Mg", "O"]
    assert np.allclose(structure.frac_coords, [[0, 0, 0], [0.5, 0.5, 0.5]])


def shared(*symbols, concentration, **more):
    return [
        {"name": "Mg", "chemical_symbols": list(symbols), "concentration": concentration, **more},
        {"name": "oxygen", "chemical_symbols": ["O"], "concentration": [1]},
    ]


def test_shared_and_vacant_sites_are_partly_occupied():
    mixed = structure_of_entry(entry(species=shared("Mg", "Ca", concentration=[0.7, 0.3])))
    vacant = structure_of_entry(entry(species=shared("Mg", "vacancy", concentration=[0.7, 0.3])))
    nearly = structure_of_entry(entry(species=shared("Mg", concentration=[0.9999999])))

    assert not mixed.is_ordered
    assert not vacant.is_ordered
    assert nearly.is_ordered


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (entry(structure_features=["unknown_positions"]), "positions of some atoms are unknown"),
        (entry(structure_features=["implicit_atoms", "disorder"]), "atoms without sites"),
        (entry(structure_features=["assemblies"]), "assemblies"),
        (entry(structure_features=["site_attachments"]), "atoms attached"),
        (entry(species=shared("Mg", concentration=[1], attached=["H"], nattached=[2])), "attached"),
        (entry(dimension_types=[1, 1, 0]), "periodic in 2 of 3 directions"),
        (entry(lattice_vectors=None), "no lattice_vectors"),
        (entry(cartesian_site_positions=None), "no cartesian_site_positions"),
        (entry(cartesian_site_positions=[[0, 0, 0]]), "2 species but coordinates of shape (1, 3)"),
        (entry(cartesian_site_positions=[[0, 0, 0], [1, 1, None]]), "not finite"),
        (entry(lattice_vectors=[[1, 0, 0], [0, 1, 0], [1, 1, 0]]), "cell volume 0"),
        (entry(nsites=3), "nsites is 3, but species_at_sites has 2"),
        (entry(species_at_sites=["Mg", "Al"]), "undefined species Al"),
        (entry(species=shared("X", concentration=[1])), "unknown element X"),
        (entry(species=shared("Mg", concentration=[1.5])), "concentration 1.5"),
        (entry(species=shared("vacancy", concentration=[1])), "holds no atom"),
        (entry(species=shared("Mg", concentration=[0.5, 0.5])), "1 symbols and 2 concentrations"),
        ({"id": "a", "attributes": []}, "unreadable"),
        ({"id": "a"}, "unreadable: lacks attributes"),
        (entry(species=[None]), "unreadable: holds a value of another kind than expected"),
        ({"attributes": {}}, "no species_at_sites"),
        ("text", "an entry that is no object"),
        (None, "an entry that is no object"),
    ],
)  # fmt: skip
def test_a_broken_entry_is_a_row(broken, reason):
    bad, good = read_from(lambda request: Reply(page(broken, entry("good"))))

    assert bad.structure is None
    assert reason in bad.reason
    assert good.structure is not None


def test_ids_that_repeat_or_are_no_names():
    names = ["a", "a", "../../b", 7, "x" * 5000, "two\nlines"]
    found = read_from(lambda request: Reply(page(*[entry(n) for n in names])))

    assert [c.step for c in found] == ["", ONE_ENTRY, "", "", "", ""]
    assert [c.source_id[:9] for c in found] == ["a", "a", "../../b", "7", "x" * 9, "two lines"]
    result = select(
        found, SelectionSpec(size=1, drop_duplicates=False), source="x",
        source_steps=optimade_steps(),
    )  # fmt: skip
    assert all("/" not in name for name in result.structures.material_id)


def test_entries_without_ids_are_named_by_their_content():
    entries = [{"attributes": entry(nsites=n)["attributes"]} for n in (2, None)]
    forth = [c.source_id for c in read_from(lambda request: Reply(page(*entries)))]
    back = [c.source_id for c in read_from(lambda request: Reply(page(*entries[::-1])))]

    assert len(set(forth)) == 2
    assert forth == back[::-1]


# Settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("optimade.org", "no web address"),
        ("ftp://optimade.org", "no web address"),
        ("file:///etc/passwd", "no web address"),
        ("http://[", "no web address"),
        ("http://user:secret@optimade.org", "plain address"),
        ("http://optimade.org?key=1", "plain address"),
        ("http://optimade.org/v0.10", r"version v0\.10 of OPTIMADE is not read"),
    ],
)
def test_a_wrong_address_is_refused(url, message):
    with pytest.raises(ValidationError, match=message):
        OptimadeSource(base_url=url)


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("https://x.org", "https://x.org/v1/structures"),
        ("https://x.org/cod/", "https://x.org/cod/v1/structures"),
        ("https://x.org/v1", "https://x.org/v1/structures"),
        ("https://x.org/optimade/v1.1/", "https://x.org/optimade/v1.1/structures"),
    ],
)
def test_the_version_is_asked_once(url, endpoint):
    assert OptimadeSource(base_url=url).endpoint == endpoint


@pytest.mark.parametrize(
    ("known", "target", "same"),
    [
        ("https://a.org/x", "https://a.org/y", True),
        ("http://a.org/x", "https://a.org/y", True),
        ("https://a.org/x", "http://a.org/y", False),
        ("https://a.org/x", "https://a.org.evil.org/y", False),
        ("https://a.org/x", "https://a.org@evil.org/y", False),
        ("http://a.org:8080/x", "http://a.org:9090/y", False),
        ("https://a.org/x", "https://a.org:443/y", True),
        ("https://a.org/x", "javascript:alert(1)", False),
    ],
)
def test_same_host(known, target, same):
    assert web.same_host(known, target) is same
