"""A Slurm of two nodes on this machine, for tests: munged, slurmctld and two slurmd in the foreground, with folders, ports and a key of
their own. What a site has installed is not touched: every command reads the cluster's slurm.conf (SLURM_CONF).

Both nodes are this host, two cores and eight GPUs each as far as Slurm knows.
"""
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import time
from pathlib import Path

from runs import processes_with

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol")
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE"}
NODES = ("n1", "n2")

CONFIGURATION = """
ClusterName=spt-test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
TmpFS={folder}/tmp-%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
SlurmdParameters=config_overrides
ReturnToService=2
MpiDefault=none
KillWait=8
MailProg=/bin/true
GresTypes=gpu
NodeName=n[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{node_ports}] CPUs=2 RealMemory=2000 {gpus} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing_programs():
    return [program for program in PROGRAMS if shutil.which(program, path=PATH) is None]


def free_ports(count):
    """Neighbours, as slurm.conf wants them."""
    for first in range(20000 + os.getpid() % 10000, 32000, count):
        listeners = [socket.socket() for _ in range(count)]
        try:
            for number, listener in enumerate(listeners):
                listener.bind(("127.0.0.1", first + number))
            return list(range(first, first + count))
        except OSError:
            continue
        finally:
            for listener in listeners:
                listener.close()
    raise AssertionError("no free ports")


def kill(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


class Cluster:
    """`stop` ends it with all that its jobs have started, however far it came."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.daemons = {}
        self.released = set()
        self.has_gpus = False
        self.user = pwd.getpwuid(os.getuid()).pw_name
        foreign = ("SLURM", "SBATCH", "SRUN", "SALLOC", "SQUEUE", "OMPI_COMM", "PMI")
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        # Two nodes of one host: Open MPI's shared memory is by host.
        self.environment.update(SLURM_CONF=str(self.folder / "slurm.conf"), PATH=PATH, OMPI_MCA_btl="self,tcp",
                                OMPI_MCA_btl_tcp_if_include="lo", OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")

    def start(self):
        ports = free_ports(3)
        for name in ("state", *(f"{kind}-{node}" for kind in ("spool", "tmp") for node in NODES)):
            (self.folder / name).mkdir()
        self._make_gpus()
        (self.folder / "slurm.conf").write_text(CONFIGURATION.format(
            folder=self.folder, user=self.user, host=socket.gethostname().split(".")[0], controller_port=ports[0], node_ports=f"{ports[1]}-{ports[2]}",
            gpus="Gres=gpu:8" if self.has_gpus else ""))
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        # --force: also below folders that others cannot enter, as temporary ones are.
        self._daemon("munged", "--foreground", "--force", f"--key-file={key}", f"--socket={self.folder}/munge.socket", f"--pid-file={self.folder}/munge.pid",
                     f"--seed-file={self.folder}/munge.seed", f"--log-file={self.folder}/munge.log")
        self._until(lambda: (self.folder / "munge.socket").exists(), "munged listens")
        self._daemon("slurmctld", "-D")
        for node in NODES:
            self.start_node(node)
        self.wait_for_nodes()

    def _make_gpus(self):
        """Device files in the place of eight, where this user may make such (`has_gpus`)."""
        try:
            for number in range(8):
                os.mknod(self.folder / f"gpu{number}", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        except PermissionError:
            return
        self.has_gpus = True
        (self.folder / "gres.conf").write_text(f"NodeName=n[1-2] Name=gpu File={self.folder}/gpu[0-7]\n")

    def start_node(self, node):
        self._daemon("slurmd", "-D", "-N", node, name=node, SPT_TEST_NODE=node)

    def wait_for_nodes(self):
        def idle():
            return self.ask("sinfo", "--noheader", "--Node", "--format=%T").split() == ["idle"] * len(NODES)
        self._until(idle, "both nodes are idle")

    def _daemon(self, *command, name=None, **more):
        log = open(self.folder / f"{name or command[0]}.log", "ab")
        self.daemons[name or command[0]] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                                            env={**self.environment, **more}, start_new_session=True)
        log.close()

    def _until(self, condition, what, seconds=30):
        end = time.monotonic() + seconds
        while not condition():
            ended = [name for name, daemon in self.daemons.items() if daemon.poll() is not None]
            if ended or time.monotonic() > end:
                raise AssertionError(f"not within {seconds} s: {what}; ended: {ended}\n{self.logs()}")
            time.sleep(0.05)

    def logs(self):
        return "".join(f"---- {path.name}\n{path.read_text(errors='replace')[-1500:]}\n" for path in sorted(self.folder.glob("*.log")))

    def processes(self):
        """pid → environment of each living process of this cluster: daemons, batch scripts, ranks."""
        return processes_with(f"SLURM_CONF={self.folder}/slurm.conf")

    def power_off(self, node):
        """SIGKILL to everything on it."""
        def on_it():
            return [pid for pid, environment in self.processes().items()
                    if node in (environment.get("SPT_TEST_NODE"), environment.get("SLURMD_NODENAME"))]
        while on_it():
            for pid in on_it():
                kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        self.daemons.pop(node).wait()

    def clear(self):
        """Ends all jobs, and brings back nodes that were powered off."""
        self.ask("scancel", f"--user={self.user}")
        for node in NODES:
            if node not in self.daemons:
                self.start_node(node)
                self.ask("scontrol", "update", f"NodeName={node}", "State=RESUME")
        self.wait_for_nodes()

    def stop(self):
        while True:
            left = self.processes()
            for pid in left:
                kill(pid, signal.SIGKILL)
            if all(daemon.poll() is not None for daemon in self.daemons.values()) and not left:
                return
            time.sleep(0.01)

    def ask(self, *command, **options):
        """A command's output; it must end well."""
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
                              env={**self.environment, **options.pop("variables", {})}, **options)
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}\n{self.logs()}"
        return done.stdout

    def sbatch(self, *words, **options):
        return self.ask("sbatch", "--parsable", *words, **options).strip()

    def job(self, number):
        """What Slurm knows of a job, by name."""
        return dict(word.split("=", 1) for word in self.ask("scontrol", "show", "job", number, "--oneliner").split() if "=" in word)

    def release(self, number):
        """A job that was put back waits two minutes by Slurm's own rule; a second is enough, for which its nodes refuse all that is its."""
        job = self.job(number)
        start = (number, job["Restarts"])
        if job["JobState"] == "PENDING" and job["Reason"] == "BeginTime" and start not in self.released:
            self.ask("scontrol", "update", f"JobId={number}", "StartTime=now+2")
            self.released.add(start)

    def wait(self, number, seconds=90):
        """The job once it has ended for good."""
        def ended():
            self.release(number)
            return self.job(number)["JobState"] in ENDED
        self._until(ended, f"job {number} ends", seconds)
        return self.job(number)
