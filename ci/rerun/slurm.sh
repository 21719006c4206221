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
