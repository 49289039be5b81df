// Reads what etcdctl printed and leaves aside what may differ between two clusters that behave alike: ids, hashes,
// sizes, timings, addresses, and how far the revisions had come before (`--base N` is subtracted from them).
import { readFileSync } from 'node:fs';

const base = Number(process.argv[process.argv.indexOf('--base') + 1] ?? 0);
const REVISIONS = new Set(['revision', 'create_revision', 'mod_revision', 'compact_revision']);
const ASIDE = new Set([
  // of headers, members and statuses
  ...['cluster_id', 'member_id', 'raft_term', 'raftTerm', 'raftIndex', 'raftAppliedIndex', 'leader', 'dbSize'],
  ...['dbSizeInUse', 'hash', 'ID', 'id', 'name', 'peerURLs', 'clientURLs', 'lease', 'Endpoint', 'ttl', 'TTL'],
  // of the warnings that the client library writes
  ...['ts', 'caller', 'target'],
]);

function plain(value, name = '') {
  if (REVISIONS.has(name)) return value - base;
  if (ASIDE.has(name)) return Array.isArray(value) ? value.map(() => '<aside>') : '<aside>';
  if (name === 'version' && typeof value === 'string') return '<aside>'; // of the server; a key's is a number
  if (Array.isArray(value)) return value.map((item) => plain(item));
  if (value === null || typeof value !== 'object') return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, item]) => [key, plain(item, key)]));
}

function line(text) {
  if (/^[{[]/.test(text)) {
    try {
      return JSON.stringify(plain(JSON.parse(text)));
    } catch {
      return text;
    }
  }
  return text
    .replace(/^[0-9a-f]+(, (?:un)?started, )[^,]*, [^,]*, [^,]*,/, '<id>$1<name>, <urls>, <urls>,')
    .replace(/^"(ClusterID|MemberID|RaftTerm|Lease)" : \d+/, '"$1" : <aside>')
    .replace(/^"((?:Create|Mod)?Revision)" : (\d+)/, (_, name, revision) => `"${name}" : ${revision - base}`)
    .replace(/^(ETCD_INITIAL_CLUSTER)=.*/, '$1=<members>')
    .replace(/(https?:\/\/)?(127\.0\.0\.1|localhost):\d+/g, '<endpoint>')
    .replace(/\b(Member|from|to|cluster|leader) +[0-9a-f]+\b/g, '$1 <id>')
    .replace(/\b[0-9a-f]{14,16}\b/g, '<id>')
    .replace(/took = \S+/g, 'took = <time>')
    .replace(/remaining\(\d+s\)/g, 'remaining(<time>)')
    .replace(/\/[^\s"]*snapshot\.db/g, '<file>')
    .replace(/compacted revision (\d+)/g, (_, revision) => `compacted revision ${revision - base}`);
}

process.stdout.write(readFileSync(0, 'utf8').split('\n').map(line).join('\n'));
