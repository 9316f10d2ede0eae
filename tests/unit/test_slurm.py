"""What a cluster has against what jobs ask for; the rest runs on a real Slurm in tests/slurm."""

import pytest

from rhoflow.slurm import Node, Request, SlurmError, check, gres_of, minutes_of

CLUSTER = [
    Node("debug", True, 4, 16_000, "(null)", 30),
    Node("compute", False, 128, 1_000_000, "(null)", 1440),
    Node("gpu", False, 64, 500_000, "gpu:a100:4(S:0-1),tmp:100", None),
    Node("gpu", False, 4, 30_000, "gpu:v100:2", None),
]


@pytest.mark.parametrize(
    ("text", "like", "found"),
    [
        ("gpu:2", None, ("gpu", 2)),
        ("gpu:a100:4(S:0-1)", None, ("gpu:a100", 4)),
        ("gpu", None, ("gpu", 1)),
        ("none", None, ("", 0)),
        ("", None, ("", 0)),
        ("(null)", None, ("", 0)),
        ("gpu:a100:4(S:0-1),tmp:100", "gpu", ("gpu", 4)),
        ("gpu:a100:4,gpu:v100:2", "gpu:v100", ("gpu:v100", 2)),
        ("tmp:100", "gpu", ("gpu", 0)),
    ],
)
def test_generic_resources(text, like, found):
    assert gres_of(text, like) == found


@pytest.mark.parametrize(
    ("limit", "minutes"),
    [("30:00", 30), ("12:00:00", 720), ("2-00:00:00", 2880), ("0:30", 1), ("infinite", None)],
)
def test_time_limits(limit, minutes):
    assert minutes_of(limit) == minutes


@pytest.mark.parametrize(
    "request_",
    [
        Request("a"),
        Request("a", "", 4, 16_000, 30),
        Request("a", "compute", 128, 900_000, 1440),
        Request("a", "debug,compute", 100),
        Request("a", "gpu", 64, 400_000, 100_000, "gpu:a100:4"),
        Request("a", "gpu", 1, 1, 1, "none"),
    ],
)
def test_what_a_node_fits_passes(request_):
    check([request_], CLUSTER)


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (Request("a", "computes"), "no partition 'computes'; did you mean 'compute'?"),
        (Request("a", "", 8), "a asks for 8 cores, but the default partition has nodes of 4 cores"),
        (Request("a", "compute", 1, 1, 2880), "2880 minutes"),
        (
            Request("a", "compute", gres="gpu:1"),
            "gres gpu:1, but partition compute has nodes of 128",
        ),
        (Request("a", "gpu", gres="gpu:h100:1"), "gpu:a100:4"),
        (Request("a", "gpu", gres="gpu:8"), "gres gpu:8"),
        # Each would fit some node, but none fits all of it.
        (Request("a", "gpu", 16, 200_000, 1, "gpu:v100:2"), "16 cores and 200000 MB"),
    ],
)
def test_what_no_node_fits_is_named(request_, told):
    with pytest.raises(SlurmError) as error:
        check([Request("fine"), request_, request_], CLUSTER)
    assert told in str(error.value)
    assert str(error.value).count("\n") == 2


def test_accounts():
    check([Request("a", account="physics")], CLUSTER, ["physics", "chemistry"])
    with pytest.raises(SlurmError, match=r"no account 'phisics' of yours; did you mean 'physics'"):
        check([Request("a", account="phisics")], CLUSTER, ["physics", "chemistry"])
    with pytest.raises(SlurmError, match="this cluster keeps no accounts; leave it out"):
        check([Request("a", account="physics")], CLUSTER)


def test_a_cluster_that_tells_nothing_is_no_reason_to_stop():
    check([Request("a", "", 8)], [])
