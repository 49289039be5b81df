#!/usr/bin/env bash
# One session of etcdctl: each command, what it printed, and how it ended, with what may differ left aside.
#   etcdctl-session.sh ENDPOINTS SCRATCH yes|no
set -uo pipefail
endpoints="$1"
scratch="$(mktemp -d "$2/session.XXXXXX")"
perf="$3"
here="$(cd "$(dirname "$0")" && pwd)"
first="${endpoints%%,*}"
ctl() { etcdctl --endpoints="$endpoints" --command-timeout=5s "$@"; }
revision() { ctl -w json get revision-of-this | sed 's/.*"revision":\([0-9]*\).*/\1/'; }
base="$(revision)"
tidy() { node "$here/normalise.mjs" --base "$base"; }

# run COMMAND…: prints and runs it; what is given on stdin is passed on when it is no terminal.
run() {
  echo "$ etcdctl $*" | tidy
  { ctl "$@" 2>&1; echo "=> $?"; } </dev/null | tidy
}
feed() {
  local text="$1"; shift
  echo "$ etcdctl $* <<< $(printf %q "$text")"
  { printf "$text" | ctl "$@" 2>&1; echo "=> ${PIPESTATUS[1]}"; } | tidy
}
# shown NAME COMMAND…: for commands whose arguments differ from cluster to cluster.
shown() {
  local name="$1"; shift
  echo "$ etcdctl $name"
  { ctl "$@" 2>&1; echo "=> $?"; } </dev/null | tidy
}
at() { echo $((base + $1)); }

echo "# keys"
run put a 1                                      # base + 1
run put a 2 --prev-kv                            # base + 2
run put b/1 one
run put b/2 two
run put b/3 three                                # base + 5
run get a
run get missing
run get b/ --prefix
run get b/ --prefix --keys-only
run get b/ --prefix --print-value-only
run get b/ --prefix --limit=2
run get b/ --prefix --sort-by=KEY --order=DESCEND
run get b/ --prefix --sort-by=VALUE
run get b/ --prefix --sort-by=MODIFY --order=DESCEND --limit=1
run get b/1 b/3
run get b/2 --from-key --limit=2 --keys-only
run -w json get a
run -w json get b/ --prefix
run -w json get b/ --prefix --limit=1 --keys-only
run -w fields get b/1 --consistency=s
shown "get a --rev=BASE+1" get a --rev="$(at 1)"
shown "-w json get a --rev=BASE+1" -w json get a --rev="$(at 1)"
run get a --hex
feed 'from stdin' put c
run get c
run put c --ignore-value
run put nothing --ignore-value
run put c x --ignore-lease
run put '' x
run -w json put a 3
run del c
run del missing
run -w json del b/3 --prev-kv
run del b/ --prefix --prev-kv
run get b/ --prefix

echo "# transactions"
feed 'value("a") = "3"\n\nput a 4\nput t 1\nget a\n\nget a\n\n' txn
feed 'value("a") = "3"\n\nput a 5\n\nget a\nget t\n\n' txn
feed 'create("t") > "0"\nver("t") = "1"\nmod("missing") = "0"\n\ndel t\nget t\n\nput no 1\n\n' txn
feed 'create("t") > "0"\n\nput x 1\nput x 2\n\n\n' txn
feed '\nput x 1\nput x 2\n\n\n' txn
feed '\nget a\nget a\n\n\n' txn
feed 'value("missing") != "1"\n\nput never 1\n\nput otherwise 1\n\n' txn

echo "# watches"
start="$(revision)"
for i in 1 2 3; do ctl put "w/$i" "$i" >/dev/null; done
ctl put w/1 again >/dev/null
ctl del w/ --prefix >/dev/null
printf 'value("a") != "x"\n\nput w/x 1\nput w/y 2\n\n\n' | ctl txn >/dev/null
watch() { # NAME ARGUMENTS…: what comes within five seconds
  local name="$1"; shift
  echo "$ etcdctl watch $name"
  timeout 5 etcdctl --endpoints="$endpoints" watch "$@" 2>&1 </dev/null | tidy
}
watch "w/ --prefix --rev=START+1" w/ --prefix --rev=$((start + 1)) &
watch "w/ --prefix --prev-kv --rev=START+4" w/ --prefix --prev-kv --rev=$((start + 4)) >"$scratch/w2" &
watch "w/2 --rev=START+1" w/2 --rev=$((start + 1)) >"$scratch/w3" &
watch "-w json w/ --prefix --rev=START+5" -w json w/ --prefix --rev=$((start + 5)) >"$scratch/w4" &
watch "live --prefix, from now on" live --prefix >"$scratch/w5" &
sleep 2 # until they stand
ctl put live/1 first >/dev/null
ctl put elsewhere x >/dev/null
ctl del live/1 >/dev/null
wait
cat "$scratch"/w?

echo "# leases"
lease="$(ctl lease grant 60 | sed 's/lease \([0-9a-f]*\) granted.*/\1/')"
shown "lease grant 60" lease grant 60
run lease grant 0
run lease grant 1
run lease grant 9999999999
shown "put l/1 x --lease=ID" put l/1 x --lease="$lease"
shown "put l/2 x --lease=ID" put l/2 x --lease="$lease"
shown "put l/2 y (takes it off the lease)" put l/2 y
shown "lease timetolive ID" lease timetolive "$lease"
shown "lease timetolive ID --keys" lease timetolive "$lease" --keys
shown "lease keep-alive ID --once" lease keep-alive "$lease" --once
echo "$ etcdctl lease list, and whether it is there"
ctl lease list | grep -c "$lease"
shown "lease revoke ID" lease revoke "$lease"
run get l/ --prefix
shown "lease revoke ID again" lease revoke "$lease"
shown "lease timetolive ID of a revoked" lease timetolive "$lease"
shown "lease keep-alive ID --once of a revoked" lease keep-alive "$lease" --once
run put l/3 x --lease=abcdef
short="$(ctl lease grant 1 | sed 's/lease \([0-9a-f]*\) granted.*/\1/')"
ctl put l/short x --lease="$short" >/dev/null
echo "$ a key whose lease runs out"
for _ in $(seq 40); do [ -z "$(ctl get l/short)" ] && break; sleep 0.25; done
run get l/short

echo "# locks and elections, which etcdctl builds of the above"
run lock a-lock echo held
echo "$ etcdctl elect, two candidates"
etcdctl --endpoints="$endpoints" elect an-office first >"$scratch/elected" 2>/dev/null &
candidate=$!
for _ in $(seq 20); do [ -s "$scratch/elected" ] && break; sleep 0.1; done
sed -n 2p "$scratch/elected"
kill -INT "$candidate" && wait "$candidate"

echo "# compaction"
newest="$(revision)"
shown "compaction NEWEST-2" compaction $((newest - 2))
shown "compaction NEWEST-2 again" compaction $((newest - 2))
shown "compaction NEWEST+100" compaction $((newest + 100))
shown "get a --rev=NEWEST-10" get a --rev=$((newest - 10))
shown "get a --rev=NEWEST+100" get a --rev=$((newest + 100))
shown "get a --rev=NEWEST-2" get a --rev=$((newest - 2))
echo "$ etcdctl watch a --rev=1, compacted"
timeout 3 etcdctl --endpoints="$endpoints" watch a --rev=1 2>&1 </dev/null | sed 's/revision [0-9]*/revision N/' | tidy
shown "compaction NEWEST --physical" compaction "$newest" --physical

echo "# the cluster"
run member list
run -w json member list
run endpoint health --cluster
run -w json endpoint status
echo "$ etcdctl endpoint hashkv: how many answers, how many hashes"
ctl -w json endpoint hashkv | node -e '
  const rows = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
  console.log(rows.length, new Set(rows.map((row) => row.HashKV.hash)).size);'
# id_of leader|follower: as etcdctl wants it, in hexadecimal.
id_of() {
  ctl -w json endpoint status | node -e '
    const text = require("node:fs").readFileSync(0, "utf8").replace(/("(?:leader|member_id)":)(\d+)/g, "$1\"$2\"");
    const rows = JSON.parse(text).map((row) => row.Status);
    const wanted = process.argv[1] === "leader";
    const row = rows.find(({ leader, header }) => (leader === header.member_id) === wanted);
    console.log(BigInt(row.header.member_id).toString(16));' "$1"
}
follower="$(id_of follower)"
shown "move-leader to a follower" move-leader "$follower"
[ "$(id_of leader)" = "$follower" ] && echo "it leads" || echo "it does not lead"
echo "$ etcdctl move-leader, asked of a follower only"
ctl -w json endpoint status >"$scratch/status"
lonely="$(node -e '
  const text = require("node:fs").readFileSync(process.argv[1], "utf8").replace(/("(?:leader|member_id)":)(\d+)/g, "$1\"$2\"");
  console.log(JSON.parse(text).find(({ Status: { leader, header } }) => leader !== header.member_id).Endpoint);' "$scratch/status")"
{ etcdctl --endpoints="$lonely" move-leader "$follower" 2>&1; echo "=> $?"; } | tidy
shown "move-leader to nobody" move-leader abcdef0123456789
run alarm list
run defrag
shown "member add one --learner" member add one --peer-urls=http://127.0.0.1:1 --learner
echo "$ etcdctl member list, with it"
ctl member list | tidy | sort
added="$(ctl member list | grep -v ', started,' | sed 's/,.*//')"
shown "member promote ID of one that was never there" member promote "${added:-abc}"
shown "member update ID" member update "${added:-abc}" --peer-urls=http://127.0.0.1:2
shown "member remove ID" member remove "${added:-abc}"
shown "member remove ID of nobody" member remove abcdef0123456789
run member list
echo "$ etcdctl snapshot save"
{ etcdctl --endpoints="$first" --command-timeout=5s snapshot save "$scratch/snapshot.db" 2>/dev/null; echo "=> $?"; } | tidy
[ -s "$scratch/snapshot.db" ] && echo "a file was written" || echo "no file was written"

echo "# many at once"
echo "$ etcdctl put, eight at a time"
for i in $(seq 8); do (for j in $(seq 5); do ctl put "many/$i/$j" "$(head -c 256 /dev/zero | tr '\0' x)"; done) & done >"$scratch/oks"
wait
grep -c OK "$scratch/oks"
echo "$ etcdctl get many/ --prefix, counted"
ctl get many/ --prefix --keys-only | grep -c many
[ "$perf" = yes ] && { echo "$ etcdctl check perf --load=s"; etcdctl --endpoints="$endpoints" check perf --load=s 2>&1 | grep -E '^(PASS|FAIL)' | sed 's/ is .*//'; }
exit 0
