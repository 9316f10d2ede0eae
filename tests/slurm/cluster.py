"""A real Slurm of one node on this machine, for the tests: root, no systemd, its own folder.

The GPUs are fakes: clones of /dev/null that Slurm counts, hands out and takes back like real ones.
With accounting, MariaDB and slurmdbd run beside it.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

CONFIG = Path("/etc/slurm")
FILES = ("slurm.conf", "gres.conf", "slurmdbd.conf")
NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "srun")
ACCOUNT = "physics"


def missing(accounting: bool = False) -> str:
    """Why Slurm cannot run here; empty if it can."""
    if os.geteuid() != 0:
        return "Slurm's daemons are started as root here"
    needed = (*NEEDED, "slurmdbd", "sacctmgr", "mariadbd") if accounting else NEEDED
    absent = [name for name in needed if not _program(name)]
    if absent:
        return f"not installed: {', '.join(absent)}"
    foreign = [f for f in FILES if (CONFIG / f).exists() and not (CONFIG / f).is_symlink()]
    return f"a Slurm is set up here already: {CONFIG / foreign[0]}" if foreign else ""


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin:/sbin")


def wait_for(what: str, ready: Callable[[], bool], seconds: float = 60.0) -> None:
    """Poll until something holds.

    Raises:
        TimeoutError: it does not within that time.
    """
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s for: {what}")
        time.sleep(0.1)


def command(*words: str, check: bool = True) -> str:
    """What a command of Slurm prints."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stdout}{done.stderr}")
    return done.stdout.strip()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Cluster:
    """Daemons, configuration and state in one folder.

    Args:
        root: an absolute path; short, as sockets stand in it.
        cpus: that the node says it has, whatever the machine has.
        memory_mb: the same of its memory.
        gpus: fakes.
        accounting: whether slurmdbd keeps accounts, as most sites do.
    """

    def __init__(
        self,
        root: Path,
        *,
        cpus: int = 16,
        memory_mb: int = 64_000,
        gpus: int = 2,
        accounting: bool = False,
    ) -> None:
        self.root, self.cpus, self.memory_mb = root, cpus, memory_mb
        self.gpus, self.accounting = gpus, accounting
        self.database: subprocess.Popen[bytes] | None = None
        self.host = socket.gethostname().split(".")[0]

    def __enter__(self) -> "Cluster":
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.root)

    def start(self) -> None:
        """Start everything and wait until the node takes jobs."""
        for name in ("ctld", "slurmd", "log", "munge", "dev", "db"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o755)
        self._write()
        self._munged()
        if self.accounting:
            self._start_accounting()
        self.start_controller()
        self._daemon("slurmd")
        wait_for("an idle node", lambda: self.state() == "idle")

    def _write(self) -> None:
        """Configuration; Snakemake's job steps look for it in the compiled-in place alone."""
        for i in range(self.gpus):
            device = self.root / "dev" / f"gpu{i}"
            if not device.exists():
                os.mknod(device, 0o600 | 0o020000, os.makedev(1, 3))
        (self.root / "slurm.conf").write_text(self._slurm_conf())
        devices = f"{self.root}/dev/gpu[0-{self.gpus - 1}]" if self.gpus > 1 else "gpu0"
        line = f"NodeName={self.host} Name=gpu File={devices}\n" if self.gpus else ""
        (self.root / "gres.conf").write_text(f"AutoDetect=off\n{line}")
        names = ["slurm.conf", "gres.conf"]
        if self.accounting:
            (self.root / "slurmdbd.conf").write_text(self._slurmdbd_conf())
            (self.root / "slurmdbd.conf").chmod(0o600)
            names.append("slurmdbd.conf")
        CONFIG.mkdir(exist_ok=True)
        for name in names:
            (CONFIG / name).unlink(missing_ok=True)
            (CONFIG / name).symlink_to(self.root / name)

    def _slurm_conf(self) -> str:
        kept = "slurmdbd" if self.accounting else "none"
        has = f"CPUs={self.cpus} RealMemory={self.memory_mb}"
        has += f" Gres=gpu:{self.gpus}" if self.gpus else ""
        enforce = "AccountingStorageEnforce=associations,qos" if self.accounting else ""
        return f"""ClusterName=test
SlurmctldHost={self.host}(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={self.root}/munge/socket
CredType=cred/munge
StateSaveLocation={self.root}/ctld
SlurmdSpoolDir={self.root}/slurmd
SlurmctldPidFile={self.root}/slurmctld.pid
SlurmdPidFile={self.root}/slurmd.pid
SlurmctldLogFile={self.root}/log/slurmctld.log
SlurmdLogFile={self.root}/log/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/{kept}
AccountingStorageHost=127.0.0.1
AccountingStoragePort=16819
AccountingStoragePass={self.root}/munge/socket
{enforce}
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=2,sched_interval=2,sched_min_interval=0
GresTypes=gpu
MpiDefault=none
MailProg=/bin/true
ReturnToService=2
MinJobAge=3600
InactiveLimit=0
KillWait=2
OverTimeLimit=0
SlurmctldTimeout=120
SlurmdTimeout=300
NodeName={self.host} NodeAddr=127.0.0.1 {has} State=UNKNOWN
PartitionName=main Nodes={self.host} Default=YES DefaultTime=10 MaxTime=1440 State=UP
PartitionName=gpu Nodes={self.host} Default=NO DefaultTime=10 MaxTime=1440 State=UP
"""

    def _slurmdbd_conf(self) -> str:
        return f"""AuthType=auth/munge
AuthInfo=socket={self.root}/munge/socket
DbdHost={self.host}
DbdAddr=127.0.0.1
DbdPort=16819
SlurmUser=root
LogFile={self.root}/log/slurmdbd.log
PidFile={self.root}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm_acct_db
"""

    def _munged(self) -> None:
        key = self.root / "munge" / "key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        munged = _program("munged") or "munged"
        command(
            munged, "--force", f"--key-file={key}", f"--socket={self.root}/munge/socket",
            f"--pid-file={self.root}/munged.pid", f"--log-file={self.root}/log/munged.log",
            f"--seed-file={self.root}/munge/seed",
        )  # fmt: skip

    def _start_accounting(self) -> None:
        """A database of its own, reached through a socket alone, and slurmdbd on top."""
        data, sock = self.root / "db", self.root / "db.sock"
        install = _program("mariadb-install-db") or "mariadb-install-db"
        command(
            install, "--user=root", f"--datadir={data}", "--auth-root-authentication-method=normal"
        )
        server = _program("mariadbd") or "mariadbd"
        log = (self.root / "log" / "mariadb.log").open("w")
        words = [
            server, "--no-defaults", "--user=root", f"--datadir={data}", f"--socket={sock}",
            "--skip-networking", f"--pid-file={self.root}/mariadb.pid",
        ]  # fmt: skip
        self.database = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)
        wait_for("the database", lambda: (self.root / "mariadb.pid").exists() and sock.exists())
        self._daemon("slurmdbd", {"MYSQL_UNIX_PORT": str(sock)})
        wait_for("slurmdbd", lambda: _listens(16819))
        for words in (
            ("add", "cluster", "test"),
            ("add", "account", ACCOUNT),
            ("add", "user", "root", f"account={ACCOUNT}"),
        ):
            command("sacctmgr", "-i", *words, check=False)

    def _daemon(self, name: str, environment: dict[str, str] | None = None) -> None:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("SLURM")}
        program = _program(name) or name
        subprocess.run([program], check=True, env={**clean, **(environment or {})})

    def start_controller(self) -> None:
        """Start slurmctld; it goes on with the jobs that it knew."""
        self._daemon("slurmctld")
        wait_for("slurmctld", lambda: "UP" in command("scontrol", "ping", check=False))

    def stop_controller(self) -> None:
        """Stop slurmctld as a service is stopped; running jobs go on.

        Killed outright it may forget what was submitted in its last seconds, on any site.
        """
        self._kill("slurmctld", signal.SIGTERM)

    def state(self) -> str:
        """The node's state as sinfo names it."""
        return command("sinfo", "-h", "-N", "-o", "%T", "-p", "main", check=False).split("\n")[0]

    def set_node(self, state: str) -> None:
        """Drain or resume the node."""
        command("scontrol", "update", f"nodename={self.host}", f"state={state}", "reason=test")

    def _pid(self, name: str) -> int | None:
        path = self.root / f"{name}.pid"
        text = path.read_text().strip() if path.exists() else ""
        return int(text) if text.isdigit() and Path(f"/proc/{text}").exists() else None

    def _kill(self, name: str, sign: int) -> None:
        pid = self._pid(name)
        if pid is None:
            return
        os.kill(pid, sign)
        wait_for(f"the end of {name}", lambda: not Path(f"/proc/{pid}").exists(), 30)

    def stop(self) -> None:
        """Cancel what runs, end the daemons, take the configuration away."""
        if self._pid("slurmctld"):
            command("scancel", "--user=root", check=False)
            with contextlib.suppress(TimeoutError):
                wait_for("an empty queue", lambda: not command("squeue", "-h", check=False), 30)
        for name in ("slurmd", "slurmctld", "slurmdbd", "munged"):
            self._kill(name, signal.SIGTERM)
        if self.database:
            self.database.terminate()
            self.database.wait()
        for name in FILES:
            if (CONFIG / name).is_symlink():
                (CONFIG / name).unlink()
