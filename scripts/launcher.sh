#!/bin/sh
# Finds the bundle (beside this folder, or in ../lib) and replaces itself with node, so that signals and the
# process id are the server's. ROBUSTMQ_NODE names another node, ROBUSTMQ_NODE_OPTIONS other node options.
set -e
self=$0
while [ -h "$self" ]; do
  target=$(readlink "$self")
  case $target in
    /*) self=$target ;;
    *) self=$(dirname "$self")/$target ;;
  esac
done
home=$(cd "$(dirname "$self")/.." && pwd)
bundle=$home/lib/@APP@.mjs
[ -f "$bundle" ] || bundle=$home/@APP@.mjs
node=${ROBUSTMQ_NODE:-node}
if ! command -v "$node" >/dev/null 2>&1; then
  echo "@APP@: Node.js 20.19 or newer is needed and '$node' is not found: install it, or set ROBUSTMQ_NODE to its path" >&2
  exit 69
fi
# libuv's pool of 4 threads serves the disk, DNS and cryptography alike: one slow fsync must not hold up the rest.
export UV_THREADPOOL_SIZE="${UV_THREADPOOL_SIZE:-16}"
# The young generation holds the messages under way: with the default 16 MiB they are copied before they die.
exec "$node" ${ROBUSTMQ_NODE_OPTIONS---max-semi-space-size=32} "$bundle" "$@"
