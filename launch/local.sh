#!/usr/bin/env bash
# Run a command on N ranks of this machine: mpirun with the settings that suit one machine.
#
#   ./launch/local.sh N COMMAND…
#   ./launch/local.sh 4 build/spt train configs/tiny_cpu.yaml mesh.tp=2
#
# * Ctrl-C or SIGTERM asks the ranks to save and stop, however long that takes; a second one ends them at once.
# * Cores are shared out evenly: OMP_NUM_THREADS, where it is unset, is cores / N; more ranks than cores are allowed.
# * The exit status is the job's: 0 done, 1 bad input, 2 failure, 75 stopped after saving (start it again to go on).
set -uo pipefail
if [ $# -lt 2 ] || ! [[ $1 =~ ^[1-9][0-9]*$ ]]; then
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" >&2
  exit 1
fi
ranks=$1
shift
command -v mpirun >/dev/null || { echo "local.sh: no mpirun on PATH: run ./launch/setup.sh, or load a module" >&2; exit 1; }
cores=$(nproc)
threads=$((cores / ranks))
[ -t 2 ] && export SPT_TERMINAL=1  # the ranks' own stderr is mpirun's pipe
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((threads > 0 ? threads : 1))}

arguments=(-np "$ranks" --oversubscribe --bind-to none)
[ "$(id -u)" -eq 0 ] && arguments+=(--allow-run-as-root)

# mpirun answers SIGTERM and Ctrl-C by killing the ranks a second later (odls_base_sigkill_timeout makes it wait, but always
# the full time, also after a failure, and the exit status is lost). SIGUSR1 it passes on and then waits for the job.
# It runs in a session of its own, so that Ctrl-C reaches this script only.
setsid mpirun "${arguments[@]}" "$@" <&0 &
job=$!
asked=false
# shellcheck disable=SC2317  # called by trap
stop() {
  if $asked; then kill -TERM "$job"; else kill -USR1 "$job"; fi
  asked=true
  echo "local.sh: stopping: the ranks save and end (once more to end them at once)" >&2
}
trap stop INT TERM USR1
while :; do
  wait "$job"
  status=$?
  kill -0 "$job" 2>/dev/null || break  # a trap interrupts wait: the job still runs
done
# Interrupted just as the job ended: its own status is still to be had.
[ "$status" -le 128 ] || { wait "$job"; final=$?; [ "$final" -eq 127 ] || status=$final; }
# Asked twice, mpirun ends before its ranks do: whoever comes next must find the run folder free. They are in its session.
session_lives() { cat /proc/[0-9]*/stat 2>/dev/null | sed 's/^.*) //' | awk -v s="$job" '$4 == s && $1 != "Z" { found = 1 } END { exit !found }'; }
while session_lives; do sleep 0.1; done
# A rank, or mpirun itself, was ended by a signal.
[ "$status" -le 128 ] || status=2
[ "$status" -ne 75 ] || echo "local.sh: stopped and saved (exit status 75): the same command goes on from there" >&2
exit "$status"
