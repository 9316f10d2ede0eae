"""Slurm before anything is submitted: can the cluster run this, and what did a killed run leave?

A request that no node fits waits in the queue for ever, or is refused by sbatch with a message that
Snakemake does not show for grouped jobs.

A Snakemake that dies without a word (SIGKILL, a login node that restarts) cannot cancel its jobs.
They go on writing while the next run, which does not know them, submits the same work again.
"""

import os
import pwd
import re
import subprocess
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from rhoflow.errors import RhoflowError, did_you_mean

# An answer of squeue takes milliseconds; a controller that restarts, up to a minute.
ANSWER_S = 90.0
# Slurm asks a job to end and kills it KillWait (30 s by default) later.
END_S = 300.0
POLL_S = 1.0


class SlurmError(RhoflowError):
    """Slurm does not answer, or a job does not end."""


def jobs_logging_below(folder: Path) -> list[str]:
    """Numbers of this user's jobs in the queue whose log lies below a folder.

    Raises:
        SlurmError: squeue fails.
    """
    words = ["squeue", "--noheader", f"--user={os.getuid()}", "--Format=JobID:24,StdOut:4000"]
    lines = _answer(words).splitlines()
    found = [(line[:24].strip(), line[24:].strip()) for line in lines]
    below = folder.resolve()
    return [job for job, log in found if log and Path(log).resolve().is_relative_to(below)]


def end_leftovers(folder: Path) -> list[str]:
    """Cancel the jobs whose log lies below a folder, and wait until they have ended.

    Only for the holder of a run's lock, before it submits anything: such jobs are of a run that
    was killed.

    Args:
        folder: where a run's Slurm logs are.

    Returns:
        The jobs that were cancelled.

    Raises:
        SlurmError: a Slurm command fails, or a job does not end.
    """
    jobs = jobs_logging_below(folder)
    if not jobs:
        return []
    _answer(["scancel", *jobs])
    deadline = time.monotonic() + END_S
    while left := jobs_logging_below(folder):
        if time.monotonic() > deadline:
            raise SlurmError(
                f"jobs of a run that was killed do not end: {', '.join(left)}; they write to the "
                "same files, so nothing is submitted. Look at them with squeue, and start again "
                "when they are gone"
            )
        time.sleep(POLL_S)
    return jobs


@dataclass(frozen=True)
class Request:
    """What a job asks for.

    Attributes:
        who: the rule, for messages.
        partition: one or several with commas between; empty for the cluster's default.
        cores: on one node.
        memory_mb: on one node, MB.
        minutes: run time.
        gres: generic resources as in gpu:1 or gpu:a100:2; empty or none without.
        account: empty for the user's default one.
    """

    who: str
    partition: str = ""
    cores: int = 0
    memory_mb: int = 0
    minutes: int = 0
    gres: str = ""
    account: str = ""


@dataclass(frozen=True)
class Node:
    """A kind of node in a partition.

    Attributes:
        partition: its name.
        default: whether that is the cluster's default partition.
        cores: processors as Slurm counts them.
        memory_mb: MB.
        gres: its generic resources, as in gpu:a100:4(S:0-1).
        minutes: the partition's longest run time; None without a limit.
    """

    partition: str
    default: bool
    cores: int
    memory_mb: int
    gres: str
    minutes: int | None = None


def nodes() -> list[Node]:
    """The kinds of nodes of every partition.

    Raises:
        SlurmError: sinfo fails.
    """
    text = _answer(["sinfo", "--all", "--noheader", "--exact", "--format=%P|%c|%m|%G|%l"])
    fields = [line.strip().split("|") for line in text.splitlines() if line.count("|") == 4]
    return [
        Node(
            name.rstrip("*"),
            name.endswith("*"),
            _number(cores),
            _number(memory),
            gres,
            minutes_of(limit),
        )
        for name, cores, memory, gres, limit in fields
    ]


def minutes_of(limit: str) -> int | None:
    """Minutes of a time limit as Slurm writes it: 30:00, 12:00:00, 2-00:00:00; None of infinite."""
    match = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", limit.strip())
    if not match:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return (days * 24 + hours) * 60 + minutes + (seconds > 0)


def accounts() -> list[str]:
    """This user's accounts; none where the site keeps no accounts."""
    user = f"user={pwd.getpwuid(os.getuid()).pw_name}"
    words = ["sacctmgr", "--noheader", "--parsable2", "list", "associations", user]
    try:
        return sorted(set(_answer([*words, "format=account"]).split()))
    except SlurmError:
        return []


def check(
    requests: Collection[Request], there: Collection[Node], accounts: Collection[str] = ()
) -> None:
    """Refuse what the cluster can never run.

    Args:
        requests: of all jobs.
        there: what ``nodes`` answers; nothing if it is not known.
        accounts: those of the user.

    Raises:
        SlurmError: a partition or an account that does not exist, or a request that no node of its
            partitions fits; all of them in one message.
    """
    asked = dict.fromkeys(request.account for request in requests if request.account)
    problems = [_no_account(name, accounts) for name in asked if name not in accounts]
    problems += dict.fromkeys(p for request in requests if (p := _problem(request, there)))
    if problems:
        raise SlurmError(
            "the cluster cannot run this:\n"
            + "\n".join(f"  {problem}" for problem in problems)
            + "\nThe site's settings stand in the profile (slurm/config.yaml; README.md beside it "
            "explains them)."
        )


def _no_account(name: str, accounts: Collection[str]) -> str:
    if not accounts:
        return f"slurm_account: '{name}', but this cluster keeps no accounts; leave it out"
    return f"slurm_account: no account '{name}' of yours{did_you_mean(name, accounts)}"


def _problem(request: Request, there: Collection[Node]) -> str:
    """Why no node fits; empty if one does, or if it is not known what the cluster has."""
    wanted = [name for name in request.partition.split(",") if name]
    names = sorted({node.partition for node in there})
    for name in wanted:
        if name not in names:
            return f"slurm_partition: no partition '{name}'{did_you_mean(name, names)}"
    among = [n for n in there if (n.partition in wanted if wanted else n.default)]
    where = f"partition {request.partition}" if wanted else "the default partition"
    kind, count = gres_of(request.gres)
    lacks = {
        "gres": [n for n in among if kind and gres_of(n.gres, kind)[1] < count],
        "cores": [n for n in among if n.cores < request.cores],
        "memory": [n for n in among if n.memory_mb < request.memory_mb],
        "time": [n for n in among if n.minutes is not None and n.minutes < request.minutes],
    }
    if not among or any(all(node not in nodes for nodes in lacks.values()) for node in among):
        return ""
    asks = {
        "gres": f"gres {request.gres}",
        "cores": f"{request.cores} cores",
        "memory": f"{request.memory_mb} MB of memory",
        "time": f"{request.minutes} minutes",
    }
    asked = " and ".join(asks[name] for name, nodes in lacks.items() if nodes)
    have = "; ".join(dict.fromkeys(_described(node) for node in among))
    return f"{request.who} asks for {asked}, but {where} has {have}"


def _described(node: Node) -> str:
    limit = "" if node.minutes is None else f", {node.minutes} minutes at most"
    gres = "no gres" if node.gres in ("", "(null)") else node.gres
    return f"nodes of {node.cores} cores, {node.memory_mb} MB, {gres}{limit}"


def min_job_age_s() -> int | None:
    """Seconds for which squeue still knows a job that has ended; None if the site does not say."""
    found = re.search(r"^MinJobAge\s*=\s*(\d+)", _answer(["scontrol", "show", "config"]), re.M)
    return int(found[1]) if found else None


def gres_of(text: str, like: str | None = None) -> tuple[str, int]:
    """Kind and number of generic resources: ('gpu:a100', 4) of gpu:a100:4(S:0-1).

    Args:
        text: a request, or what a node has.
        like: of several, count those of this kind; a kind without type is any of its types.

    Returns:
        ("", 0) without any.
    """
    found = []
    for part in re.sub(r"\([^)]*\)", "", text).split(","):
        words = [w for w in part.strip().split(":") if w]
        if not words or words == ["none"] or words == ["null"]:
            continue
        number = int(words.pop()) if words[-1].isdigit() else 1
        found.append((":".join(words), number))
    if like is not None:
        counts = [n for kind, n in found if kind == like or kind.startswith(f"{like}:")]
        return like, sum(counts)
    return found[0] if found else ("", 0)


def _number(text: str) -> int:
    """Of 128, 128+ or 2:16:2."""
    digits = re.match(r"\d+", text)
    return int(digits[0]) if digits else 0


def _answer(words: list[str]) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=ANSWER_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SlurmError(f"{words[0]} does not answer: {error}") from None
    if done.returncode:
        raise SlurmError(f"{words[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
