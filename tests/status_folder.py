"""A folder in which a run stands, as ``rhoflow.status`` reads it: made up file by file."""

import os
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any

from rhoflow import io
from rhoflow.dft.shard import to_table
from rhoflow.status.jobs import JobFiles
from rhoflow.status.read import Layout, Status, read
from rhoflow.tables import DFT_COST, DFT_RECORDS

NOW = 1_800_000_000.0
STAMP = "2027-01-15 08:00:00,000"
SIZE = 4


class Folder:
    """A folder with a run of one data set of four shards and one study of four trainings."""

    def __init__(self, top: Path, shards: int = 4, trainings: int = 4) -> None:
        self.top = top
        self.shards = [self.job("dft_run", f"oxides/{i:04d}", "dft") for i in range(shards)]
        arms = ["cnn", "ridge"]
        self.trainings = [
            self.job("model_train", f"paper/{arms[i % 2]}/gap/{i}-{i}", "predictions")
            for i in range(trainings)
        ]

    def job(self, rule: str, name: str, folder: str) -> JobFiles:
        return {
            "name": name,
            "rule": rule,
            "output": f"out/{folder}/{name}.parquet",
            "log": f"out/logs/{rule}/{name}.log",
            "benchmark": f"out/benchmarks/{rule}/{name}.tsv",
        }

    def layout(self, *, computes: bool = True) -> Layout:
        costs = {j["name"]: j["output"].replace(".parquet", ".cost.parquet") for j in self.shards}
        return {
            "snakemake": ".snakemake",
            "datasets": {
                "oxides": {
                    "size": SIZE * len(self.shards),
                    "shard_size": SIZE,
                    "structures": "out/structures.parquet",
                    "shards": self.shards,
                    "costs": costs if computes else None,
                }
            },
            "studies": {
                "paper": {
                    "trainings": [
                        {"arm": j["name"].split("/")[1], "job": j, "fits": 4}
                        for j in self.trainings
                    ],
                    "figures": {"parity": "out/parity.svg", "scan": "out/scan.svg"},
                    "report": "out/paper.html",
                }
            },
            "stages": {
                "soap_shard": {
                    "log": "out/logs/soap_shard/{descriptor}/{shard}.log",
                    "logs": r"out/logs/soap_shard/(?P<descriptor>soap)/(?P<shard>\d{4})\.log$",
                    "output": "out/{descriptor}/{shard}.npz",
                    "outputs": r"out/(?P<descriptor>soap)/(?P<shard>\d{4})\.npz$",
                },
                "report_make": {
                    "log": "out/logs/report_make.log",
                    "logs": r"out/logs/report_make\.log$",
                    "output": "out/report.html",
                    "outputs": r"out/report\.html$",
                },
            },
            "engine_logs": "out/done",
            "checkpoints": "out/training",
            "report": "out/report.html",
        }

    def write(self, path: str, content: str | bytes = "", ago: float = 0.0) -> Path:
        full = self.top / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_bytes(content if isinstance(content, bytes) else content.encode())
        os.utime(full, (NOW - ago, NOW - ago))
        return full

    def mark(self, job: JobFiles, ago: float = 0.0) -> None:
        """As Snakemake marks an output in progress: its name in base64, in pieces if long."""
        code = urlsafe_b64encode(job["output"].encode()).decode()
        pieces = [code[i : i + 254] for i in range(0, len(code), 254)]
        path = "/".join([*(f"@{p}" for p in pieces[:-1]), pieces[-1]])
        self.write(f".snakemake/incomplete/{path}", '{"external_jobid": "7"}', ago)

    def lock(self, ago: float) -> None:
        self.write(".snakemake/locks/0.input.lock", "x\n", ago)
        self.write(".snakemake/locks/0.output.lock", "x\n", ago)

    def finish(self, job: JobFiles, statuses: list[str], ago: float = 0.0, wall_s: float = 60.0):
        rows = [
            {"material_id": f"{job['name']}-{i}", "status": s, "reason": REASONS.get(s)}
            for i, s in enumerate(statuses)
        ]
        io.write_table(self.top / job["output"], to_table(rows, DFT_RECORDS), DFT_RECORDS)
        cost = [{"material_id": r["material_id"], "cpu_time_s": 900.0} for r in rows]
        path = self.top / job["output"].replace(".parquet", ".cost.parquet")
        io.write_table(path, to_table(cost, DFT_COST), DFT_COST)
        os.utime(self.top / job["output"], (NOW - ago, NOW - ago))
        self.measure(job, wall_s)

    def measure(self, job: JobFiles, wall_s: float) -> None:
        cpu = f"{wall_s / 2:.2f}"
        self.write(job["benchmark"], f"s\th:m:s\tmax_rss\tcpu_time\n{wall_s}\t0:01\t1.0\t{cpu}\n")

    def status(self, **options: Any) -> Status:
        return read(self.layout(**options), NOW)


REASONS = {"failed": "worker ended with code 137: killed", "not_converged": "333 iterations"}


def lines_of(*outcomes: str, found: int = 0) -> str:
    head = f"{STAMP} {found} of {SIZE} found in /x/done\n" if found else ""
    rows = (f"{STAMP} [{i}/{SIZE - found}] mp-{i} {o}\n" for i, o in enumerate(outcomes, 1 + 0))
    return head + "".join(rows)
