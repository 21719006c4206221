#!/usr/bin/env bash
# `rerun` through a real Slurm: one node on the loopback interface, from Debian's packages slurm-wlm and munge, with
# everything it writes in a temporary folder, and everything it starts ended with this script. Needs root, Python 3 and
# bubblewrap. The shipped submission is rerun by python, srun and sbatch; exit codes are checked, and that the numbers
# are the same.
#
#   ci/rerun/slurm.sh target/release/rerun
set -euo pipefail
cd "$(dirname "$0")/../.."
rerun=$(realpath "${1:?which rerun, such as target/release/rerun}")
for program in slurmctld slurmd srun sbatch munged; do
  command -v "$program" >/dev/null || { echo "$program is not here: apt install slurm-wlm munge" >&2; exit 2; }
done
[ "$(id -u)" = 0 ] || { echo "slurmd needs root" >&2; exit 2; }

slurm=$(mktemp -d)
chmod 755 "$slurm"
daemons=()
stop() {
  scancel --full --user root 2>/dev/null || true
  sleep 1
  for pid in "${daemons[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$slurm"
}
trap stop EXIT

# A port that nobody listens on, from a range below those that the system hands out.
port() {
  local port
  for port in $(seq "$1" "$(($1 + 900))"); do
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then echo "$port"; return; fi
  done
  exit 2
}
mkdir "$slurm/state" "$slurm/spool"
cat > "$slurm/slurm.conf" <<CONF
ClusterName=rerun
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=$(port 16000)
SlurmdPort=$(port 17000)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$slurm/munge.socket
CredType=cred/munge
CommunicationParameters=NoInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SwitchType=switch/none
StateSaveLocation=$slurm/state
SlurmdSpoolDir=$slurm/spool
SlurmctldPidFile=$slurm/slurmctld.pid
SlurmdPidFile=$slurm/slurmd.pid
SlurmctldLogFile=$slurm/slurmctld.log
SlurmdLogFile=$slurm/slurmd.log
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobCompType=jobcomp/none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SchedulerParameters=sched_min_interval=0
KillWait=5
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=rerun Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
export SLURM_CONF="$slurm/slurm.conf"

dd if=/dev/urandom of="$slurm/munge.key" bs=128 count=1 status=none
chmod 400 "$slurm/munge.key"
munged --foreground --force --key-file="$slurm/munge.key" --socket="$slurm/munge.socket" --pid-file="$slurm/munge.pid" \
  --seed-file="$slurm/munge.seed" --log-file="$slurm/munge.log" 2>/dev/null &
daemons+=($!)
slurmctld -D 2>/dev/null &
daemons+=($!)
slurmd -D 2>/dev/null &
daemons+=($!)
deadline=$((SECONDS + 60))
until sinfo --noheader --format=%T 2>/dev/null | grep -qx idle; do
  if [ $SECONDS -gt $deadline ]; then tail "$slurm"/*.log >&2; echo "Slurm does not come up" >&2; exit 2; fi
  sleep 0.2
done
echo "== Slurm $(sinfo --version | cut -d' ' -f2), one node"

submission=fixtures/submissions/runnable
failures=0
# expect CODE WHAT COMMAND...: runs it, and remembers if it ends otherwise.
expect() {
  local code=$1 what=$2 found=0
  shift 2
  "$@" > "$slurm/out" 2> "$slurm/err" || found=$?
  if [ "$found" = "$code" ]; then
    echo "ok      $what: exit code $code"
  else
    echo "FAILED  $what: exit code $found, not $code"
    cat "$slurm/out" "$slurm/err"
    failures=$((failures + 1))
  fi
}
says() {
  if grep -q -- "$1" "$slurm/out" "$slurm/err"; then echo "ok      says: $1"; return; fi
  echo "FAILED  does not say: $1"
  cat "$slurm/out" "$slurm/err"
  failures=$((failures + 1))
}
numbers() {
  python3 - "$1/report.json" <<'PY'
import json, sys
report = json.load(open(sys.argv[1]))
print(report["level"], [(r["seed"], r["log"]["finals"][-1]["val_bpb"], r["artifact"]["file"]["sha256"]) for r in report["records"]])
PY
}
same() {
  if [ "$(numbers "$slurm/python")" = "$(numbers "$1")" ]; then
    echo "ok      $2: numbers, artifacts and level of the python launcher"
  else
    echo "FAILED  $2: $(numbers "$1"), python: $(numbers "$slurm/python")"
    failures=$((failures + 1))
  fi
}
# Waits until nothing of ours is queued or running.
drained() {
  local deadline=$((SECONDS + 120))
  while [ -n "$(squeue --noheader)" ]; do
    if [ $SECONDS -gt $deadline ]; then squeue; echo "FAILED  jobs do not end"; exit 1; fi
    sleep 0.5
  done
}

expect 0 "python" "$rerun" $submission --seeds 1,2,3 -q --out "$slurm/python"
expect 0 "srun" "$rerun" $submission --seeds 1,2,3 -q --launcher srun --out "$slurm/srun"
same "$slurm/srun" "srun"
expect 0 "srun inside of an allocation" salloc --quiet --ntasks=1 \
  "$rerun" $submission --seeds 1,2,3 -q --launcher srun --out "$slurm/inside"
same "$slurm/inside" "srun inside of an allocation"

expect 0 "sbatch" "$rerun" $submission --seeds 1,2,3 -q --launcher sbatch --launcher-arg=--time=5 --out "$slurm/sbatch"
expect 2 "collect at once" "$rerun" collect "$slurm/sbatch"
says "PENDING\|RUNNING"
expect 2 "sbatch again at once" "$rerun" $submission --seeds 1,2,3 -q --launcher sbatch --out "$slurm/sbatch"
drained
expect 0 "collect" "$rerun" collect "$slurm/sbatch"
same "$slurm/sbatch" "sbatch"
says "verdict     level 4: rerun"
expect 0 "sbatch of what is finished" "$rerun" $submission --seeds 1,2,3 -q --launcher sbatch --out "$slurm/sbatch"
says "every seed is finished"

# The end of a task, and of whoever waits.
expect 0 "sbatch for scancel" "$rerun" $submission --seeds 1,2 -q --launcher sbatch --env ITERATIONS=100000 --out "$slurm/cancel"
sleep 3
scancel --full --name=rerun
drained
expect 2 "collect of what was cancelled" "$rerun" collect "$slurm/cancel"
says "seed 1      FAILED"
"$rerun" $submission --seeds 1 -q --launcher srun --out "$slurm/killed" 2>/dev/null &
sleep 2
kill -9 $!
wait $! 2>/dev/null || true
drained
sleep 1
left=$(pgrep --full --count "$slurm/killed/seed-1" || true)
if [ "$left" = 0 ]; then echo "ok      kill -9 leaves no process"; else echo "FAILED  $left processes are left"; failures=$((failures + 1)); fi
expect 0 "the same command goes on" "$rerun" $submission --seeds 1,2,3 -q --launcher srun --out "$slurm/killed"

# Without a sandbox, srun starts the script's processes.
mkdir "$slurm/ranks"
cat > "$slurm/ranks/train_gpt.py" <<'PY'
import os
names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR")
print("process", *[os.environ[name] for name in names], flush=True)
if os.environ["RANK"] == "0":
    open("model.int8.ptz", "wb").write(bytes(100))
    print("final_int8_zlib_roundtrip_exact val_loss:2.0 val_bpb:1.25", flush=True)
PY
cat > "$slurm/ranks/README.md" <<'MD'
# Ranks

```bash
SEED=1 srun -n2 python3 train_gpt.py
```
MD
expect 1 "srun of two processes, of an unfinished folder" "$rerun" "$slurm/ranks" --seeds 1 -q --no-sandbox \
  --launcher-arg=--overcommit --out "$slurm/ranks-out"
cp "$slurm/ranks-out/seed-1/output.log" "$slurm/out"
says "process 0 2 0 2 $(hostname -s)"
says "process 1 2 1 2 $(hostname -s)"

echo "$failures failed"
[ "$failures" = 0 ]
