# shellcheck shell=bash
# Sourced by the batch scripts of this folder: starts spt, passes requests to stop on to it, and puts the job back into
# the queue where that is of use.
#
#   start_ranks train CONFIG.yaml key=value…    # `spt train …`, a rank on each task of the job
#   start_one sweep SWEEP.yaml key=value…       # `spt sweep …`, one process on the first node
#
# Neither returns. What becomes of the job hangs on spt's exit status:
#   0       done
#   75      stopped after saving: back into the queue; started again, it goes on from there
#   1       bad input: the job ends, the same would be refused again
#   others  a failure of spt or of the machine: back into the queue, $SPT_RESTARTS [3] times; then the job ends with 2
# A job that was cancelled (scancel) never goes back. On SIGUSR1, which --signal=B:USR1@300 sends five minutes ahead of the
# time limit, spt is asked to save and stop.
#
# The output of the job has this script's own lines. What rank R writes is in rank-R.txt of the folder beside it that is
# called like it (of spt-train-17.out it is spt-train-17). A job that is started again goes on in the same files.

say() { printf '%(%F %T)T %s: %s\n' -1 "$SLURM_JOB_NAME" "$*"; }

child=
asked=false
trap 'asked=true; say "asked to stop (SIGUSR1): spt saves and ends"; [ -z "$child" ] || kill -USR1 "$child"' USR1
trap : TERM  # of scancel, which reaches the ranks by itself; this script waits for them

# One task of an array: its SLURM_JOB_ID may stand for all of them.
job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}
job=${job:-$SLURM_JOB_ID}
logs=$(readlink "/proc/$$/fd/1")
[ -f "$logs" ] || logs=$PWD/$SLURM_JOB_NAME-$job.out  # to a pipe or to nowhere
case $logs in
  *.out | *.txt | *.log) logs=${logs%.*} ;;
  *) logs=$logs.ranks ;;
esac
mkdir -p "$logs" || exit 2
set +u  # `module` is often not made for it
. "$SPT_HOME/slurm/env.sh"
set -u

# run COMMAND…: to its end; its status is in `status`.
run() {
  local final
  "$@" &
  child=$!
  ! $asked || kill -USR1 "$child"
  while :; do
    wait "$child"
    status=$?
    kill -0 "$child" 2>/dev/null || break  # a trap interrupts wait: it still runs
  done
  # Interrupted just as it ended: its own status is still to be had.
  [ "$status" -le 128 ] || { wait "$child"; final=$?; [ "$final" -eq 127 ] || status=$final; }
}

requeue() {  # requeue WHY: ends this script
  say "exit status $status, $1"
  # A cancelled job would come back to life.
  [ "$(squeue --noheader --jobs "$job" --format %T)" = RUNNING ] || { say "this job was ended from outside"; exit "$status"; }
  scontrol requeue "$job" || say "cannot go back into the queue (above): submit it again to go on"
  exit "$status"
}

finish() {
  local failures most=${SPT_RESTARTS:-3}
  # A rank that the signal met before it listened.
  if $asked && [ "$status" -gt 2 ]; then status=75; fi
  case $status in
    0) say "done"; exit 0 ;;
    1) say "exit status 1, bad input: not started again"; exit 1 ;;
    75) requeue "stopped after saving: back into the queue" ;;
  esac
  failures=$(($(cat "$logs/failures" 2>/dev/null || echo 0) + 1))
  echo "$failures" >"$logs/failures"
  if [ "$failures" -gt "$most" ]; then
    say "exit status $status, a failure, and the job was started again $most times: given up"
    exit 2
  fi
  requeue "a failure: back into the queue, restart $failures of at most $most"
}

start_ranks() {
  # Under mpirun, SLURM_PROCID is that of its daemon.
  # shellcheck disable=SC2016  # for the ranks
  local in_own_file='exec "$@" >>"$0/rank-${OMPI_COMM_WORLD_RANK:-$SLURM_PROCID}.txt" 2>&1'
  local command=(bash -c "$in_own_file" "$logs" "${spt[@]}" "$@") before
  before=$(wc -c 2>/dev/null <"$logs/rank-0.txt")
  say "start ${SLURM_RESTART_COUNT:-0} by $launcher on $SLURM_JOB_NODELIST: spt $*; what the ranks write: $logs"
  if [ "$launcher" = srun ]; then
    run srun --mpi=pmix --export=ALL --kill-on-bad-exit=1 --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" "${srun_options[@]}" "${command[@]}"
  else
    run mpirun "${mpirun_options[@]}" "${command[@]}"
  fi
  # srun answers 0 also where a node refused to start a step.
  if [ "$status" -eq 0 ] && [ "$(wc -c 2>/dev/null <"$logs/rank-0.txt")" = "$before" ]; then
    say "no rank was started, whatever $launcher says"
    status=2
  fi
  [ "$status" -eq 0 ] || tail -qn 20 "$logs"/rank-*.txt | grep -E '^[0-9:]{8} (\[ *[0-9]+\] )?error '
  finish
}

start_one() {
  say "start ${SLURM_RESTART_COUNT:-0} on $SLURM_JOB_NODELIST: spt $*"
  run "${spt[@]}" "$@"
  finish
}
