#!/usr/bin/env bash
# `rerun --container` with a real engine: makes an image of this machine's own Python (no registry is asked), and runs the
# tests in modules needs_container with it.
#
#   ci/rerun/container.sh                   build the image and run the tests
#   ci/rerun/container.sh shipped           run the shipped submission in it instead
#   ci/rerun/container.sh probe             say whether the engine runs a container of it, and nothing else
#   GOLF_RERUN_ENGINE=docker ci/rerun/container.sh
#
# Needs podman or docker, a Python 3 in /usr, and permission to run containers.
set -euo pipefail
cd "$(dirname "$0")/../.."
engine=${GOLF_RERUN_ENGINE:-podman}
image=localhost/golf-harness-rerun:test
export GOLF_RERUN_ENGINE=$engine GOLF_RERUN_IMAGE=$image

# Where version 2 of cgroups is mounted beside version 1, crun refuses to run anything; in a mount name space of its own,
# version 2 can go.
if [ "$engine" = podman ] && mountpoint -q /sys/fs/cgroup/unified && [ -z "${GOLF_RERUN_INSIDE:-}" ]; then
    GOLF_RERUN_INSIDE=1 exec unshare --mount sh -c 'umount /sys/fs/cgroup/unified && exec "$@"' sh "$0" "$@"
fi

python=$(readlink -f /usr/bin/python3)
library=$("$python" -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
programs=("$python" /usr/bin/python3 /bin/sh /bin/sleep /bin/true)
# What the programs and Python's own modules are linked with, the loader among it.
mapfile -t libraries < <(
    find "$library/lib-dynload" -name '*.so' -print0 | xargs -0 ldd "$python" /bin/sh /bin/sleep |
        grep -o '/[^ :]*\.so[^ :]*' | grep -v "^$library/" | sort -u
)
archive=$(mktemp)
trap 'rm -f "$archive"' EXIT
tar --create --dereference --file "$archive" --exclude='*/__pycache__' --exclude='*/test' --directory / \
    "${programs[@]#/}" "${library#/}" "${libraries[@]#/}"
"$engine" import "$archive" "$image"

if [ "${1:-}" = probe ]; then
    # Less than there is anywhere: engines ask for their own idea of it, which a container around them may refuse.
    limits=(--ulimit nofile=1024:1024 --ulimit nproc=1024:1024)
    exec "$engine" run --rm --pull=never --network none "${limits[@]}" "$image" /bin/true
fi
if [ "${1:-}" = shipped ]; then
    cargo run --release --no-default-features --bin rerun -- fixtures/submissions/runnable --seeds 1,2,3 \
        --container "$image" --container-engine "$engine" --out "$(mktemp -d)/run"
else
    # Fewer kills than by hand; what each test leaves in the engine it looks for itself.
    RERUN_KILLS=${RERUN_KILLS:-2} cargo test --locked --release --test rerun -- --ignored needs_container
fi
