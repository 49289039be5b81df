#!/usr/bin/env bash
# Runs Debian's etcdctl, which nobody here wrote, against three nodes of ours and three of etcd, and compares what it
# prints. What may differ (ids, hashes, sizes, timings, addresses) is left aside by normalise.mjs.
#
#   etcdctl.sh [--keep DIR] [--perf]
#
# --keep DIR leaves both transcripts there. --perf adds `check perf --load=s`, which takes a minute for each cluster.
# Exit: 0 when both print the same but for known-differences.txt, 1 when not, 77 when etcd or etcdctl are not installed, 70 when a cluster does not start.
set -uo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
root="$(cd "$here/../.." && pwd)"
perf=no
work=""
keep=no
while [ $# -gt 0 ]; do
  case "$1" in
    --keep) keep=yes; work="$2"; mkdir -p "$work"; shift 2 ;;
    --perf) perf=yes; shift ;;
    *) echo "etcdctl.sh: unknown argument $1" >&2; exit 64 ;;
  esac
done

for tool in etcd etcdctl; do
  if ! command -v "$tool" >/dev/null 2>&1; then
    echo "skipped: $tool is not installed (apt-get install etcd-client etcd-server)"
    exit 77
  fi
done
[ -n "$work" ] || work="$(mktemp -d)"
export ETCDCTL_API=3
unset ETCDCTL_ENDPOINTS
pids=()
finish() {
  for pid in "${pids[@]}"; do kill -KILL "$pid" 2>/dev/null; done
  wait 2>/dev/null
  rm -rf "$work/data"
  [ "$keep" = yes ] || rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

# Nine ports that were free a moment ago.
read -r -a ports <<<"$(node -e '
  const net = require("node:net");
  const servers = Array.from({ length: 9 }, () => net.createServer().listen(0, "127.0.0.1"));
  Promise.all(servers.map((s) => new Promise((r) => s.on("listening", r)))).then(() => {
    console.log(servers.map((s) => s.address().port).join(" "));
    for (const s of servers) s.close();
  });')"

start_ours() {
  local peers=() i
  for i in 1 2 3; do peers+=(--set "meta.peers.$i=127.0.0.1:${ports[$((i - 1))]}"); done
  for i in 1 2 3; do
    "$root/apps/meta-only/dist/bin/meta-only" start --data-path "$work/data/ours-$i" --set "node_id=$i" "${peers[@]}" \
      --set "grpc.bind=127.0.0.1:${ports[$((i - 1))]}" --set http.bind=127.0.0.1:0 --set log.format=json \
      >"$work/ours-$i.log" 2>&1 &
    pids+=($!)
  done
}

start_etcd() {
  local cluster="" i
  for i in 1 2 3; do cluster="$cluster,e$i=http://127.0.0.1:${ports[$((i + 5))]}"; done
  for i in 1 2 3; do
    local client="http://127.0.0.1:${ports[$((i + 2))]}" peer="http://127.0.0.1:${ports[$((i + 5))]}"
    etcd --name "e$i" --data-dir "$work/data/etcd-$i" --listen-client-urls "$client" --advertise-client-urls "$client" \
      --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "${cluster#,}" \
      --initial-cluster-state new --logger zap >"$work/etcd-$i.log" 2>&1 &
    pids+=($!)
  done
}

wait_for() {
  local i
  for i in $(seq 60); do
    etcdctl --endpoints="$1" --command-timeout=1s get ready >/dev/null 2>&1 && return 0
    sleep 0.25
  done
  echo "$2 did not start:" >&2
  tail -n 5 "$work/$2"-*.log >&2
  exit 70
}

mkdir -p "$work/data"
[ -x "$root/apps/meta-only/dist/bin/meta-only" ] || (cd "$root/apps/meta-only" && node ../../scripts/bundle.mjs) || exit 70
start_ours
start_etcd
ours="127.0.0.1:${ports[0]},127.0.0.1:${ports[1]},127.0.0.1:${ports[2]}"
real="127.0.0.1:${ports[3]},127.0.0.1:${ports[4]},127.0.0.1:${ports[5]}"
wait_for "$ours" ours
wait_for "$real" etcd
for each in "${ours//,/ }" "${real//,/ }"; do for endpoint in $each; do wait_for "$endpoint" "$endpoint"; done; done

"$here/etcdctl-session.sh" "$ours" "$work" "$perf" >"$work/ours.txt" 2>&1 &
session=$!
"$here/etcdctl-session.sh" "$real" "$work" "$perf" >"$work/etcd.txt" 2>&1
wait "$session"

node "$here/compare.mjs" "$work/etcd.txt" "$work/ours.txt" "$here/known-differences.txt"
