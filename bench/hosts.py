#!/usr/bin/env python3
"""Several hosts on this one: network namespaces with a name each, joined by a bridge over links of a set rate and delay.

    bench/hosts.py COUNT RATE DELAY -- COMMAND…     # e.g. 2 1gbit 0 -- mpirun -np 2 --map-by node build/spt train …

Runs COMMAND on the first host and takes the hosts down behind it; `mpirun` in it reaches the others. They share this host's cores, memory
and files, but for a folder where one is asked for. As root, with iproute2 and util-linux. RATE needs tbf in the kernel, a DELAY other than 0 netem.
"""
import os
import subprocess
import sys
import tempfile
from pathlib import Path

NET = "10.77.0"
# NUMBER COMMAND…: runs it on that host.
ENTER = """#!/bin/bash
number=$1; shift
exec ip netns exec {prefix}$number unshare --uts --mount bash -c 'hostname host$0; {mount}exec "$@"' $number "$@"
"""
# What mpirun runs in place of ssh: a shell line, on the host of that address.
AGENT = """#!/bin/bash
while [[ $1 == -* ]]; do shift; done
number=${{1##*.}}; shift
exec {enter} $number bash -c "$*"
"""


def call(command):
    subprocess.run(command.split(), check=True)


class Hosts:
    """`with Hosts(2, "1gbit", "0") as hosts: hosts.run([...])`

    With a folder `own`, each host N finds its folder OWN/hostN, which must exist, under the path OWN/here."""

    def __init__(self, count, rate, delay, own=None):
        self.count, self.rate, self.delay, self.own = count, rate, delay, own
        self.prefix = f"spt-{os.getpid()}-"
        self.folder = tempfile.TemporaryDirectory(prefix="spt-hosts-")

    def space(self, number):
        return f"{self.prefix}{number}"

    def __enter__(self):
        switch = self.space("switch")
        try:
            call(f"ip netns add {switch}")
            call(f"ip -n {switch} link add bridge type bridge")
            call(f"ip -n {switch} link set bridge up")
            for number in range(1, self.count + 1):
                host = self.space(number)
                call(f"ip netns add {host}")
                call(f"ip -n {host} link set lo up")
                call(f"ip -n {host} link add eth0 type veth peer name port{number} netns {switch}")
                call(f"ip -n {host} addr add {NET}.{number}/24 dev eth0")
                call(f"ip -n {host} link set eth0 up")
                call(f"ip -n {switch} link set port{number} master bridge up")
                # Each way of a link: out of the host here, into it at the switch.
                limit = f"tbf rate {self.rate} burst 256kb latency 100ms"
                call(f"tc -n {host} qdisc add dev eth0 root handle 1: {limit}")
                call(f"tc -n {switch} qdisc add dev port{number} root {limit}")
                if self.delay != "0":
                    call(f"tc -n {host} qdisc add dev eth0 parent 1: netem delay {self.delay} limit 100000")
        except BaseException:
            self.__exit__()
            raise
        mount = f"mount --bind {self.own}/host$0 {self.own}/here && " if self.own else ""
        for name, text in (("enter", ENTER.format(prefix=self.prefix, mount=mount)), ("agent", AGENT.format(enter=f"{self.folder.name}/enter"))):
            script = Path(self.folder.name, name)
            script.write_text(text)
            script.chmod(0o755)
        Path(self.folder.name, "hosts").write_text("".join(f"{NET}.{n} slots=64\n" for n in range(1, self.count + 1)))
        return self

    def __exit__(self, *_):
        for number in ["switch", *range(1, self.count + 1)]:
            subprocess.run(["ip", "netns", "delete", self.space(number)], stderr=subprocess.DEVNULL, check=False)
        self.folder.cleanup()

    def cut(self, number):
        """Takes the host's link down."""
        call(f"ip -n {self.space(number)} link set eth0 down")

    def command(self, command, environment=None):
        """The command line that runs `command` on the first host."""
        settings = {"plm_rsh_agent": f"{self.folder.name}/agent", "orte_default_hostfile": f"{self.folder.name}/hosts",
                    "oob_tcp_if_include": f"{NET}.0/24", "btl_tcp_if_include": f"{NET}.0/24", "hwloc_base_binding_policy": "none"}
        variables = {**(environment or {}), **{f"OMPI_MCA_{name}": value for name, value in settings.items()}}
        return ["env", *(f"{name}={value}" for name, value in variables.items()), f"{self.folder.name}/enter", "1", *map(str, command)]

    def run(self, command, environment=None, **options):
        """subprocess.run on the first host."""
        return subprocess.run(self.command(command, environment), check=False, **options)


def main():
    if len(sys.argv) < 6 or sys.argv[4] != "--":
        sys.exit(__doc__)
    with Hosts(int(sys.argv[1]), sys.argv[2], sys.argv[3]) as hosts:
        sys.exit(hosts.run(sys.argv[5:]).returncode)


if __name__ == "__main__":
    main()
