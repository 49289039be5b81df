// The tables, and whether the server may be trusted with them.
//
//   shard         one row per shard: its configuration and head. The row is locked while records are appended, so offsets
//                 have no gaps and become visible in order, which a sequence promises neither of.
//   record        one row per record; key as bytes, because text holds no NUL; tags as JSON
//   record_tag    finds records by the SHA-256 of a tag: an index entry has a limited size, a tag has not
//   producer      by the SHA-256 of its id: epoch and last batches, as JSON
//   attempt       the last group of each writer and its outcomes: a group that is sent again is answered, not done again
//   group_offset  where groups of consumers are

import type { Durability } from '../capabilities.js';
import { StorageError } from '../errors.js';
import type { PostgresConnections } from './postgres-connections.js';

/** Releases before 13 get no more corrections. */
const VERSION_MIN = 130_000;
/** Any number: two processes that start at once must not create the tables at once. */
const CREATION_LOCK = 0x526f_6271;

const tablesOf = (schema: string): readonly string[] => [
  `CREATE SCHEMA IF NOT EXISTS ${schema}`,
  `CREATE TABLE IF NOT EXISTS ${schema}.shard (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text COLLATE "C" NOT NULL UNIQUE, config text NOT NULL,
    log_start bigint NOT NULL DEFAULT 0, next bigint NOT NULL DEFAULT 0, last_ms bigint NOT NULL DEFAULT 0,
    bytes bigint NOT NULL DEFAULT 0)`,
  `CREATE TABLE IF NOT EXISTS ${schema}.record (
    shard bigint NOT NULL REFERENCES ${schema}.shard ON DELETE CASCADE, off bigint NOT NULL, ts bigint NOT NULL,
    key bytea, tags text NOT NULL, payload bytea NOT NULL, PRIMARY KEY (shard, off))`,
  `CREATE INDEX IF NOT EXISTS record_key ON ${schema}.record (shard, sha256(key), off) WHERE key IS NOT NULL`,
  `CREATE INDEX IF NOT EXISTS record_time ON ${schema}.record (shard, ts, off)`,
  `CREATE TABLE IF NOT EXISTS ${schema}.record_tag (
    shard bigint NOT NULL, tag bytea NOT NULL, off bigint NOT NULL, PRIMARY KEY (shard, tag, off),
    FOREIGN KEY (shard, off) REFERENCES ${schema}.record ON DELETE CASCADE)`,
  `CREATE INDEX IF NOT EXISTS record_tag_record ON ${schema}.record_tag (shard, off)`,
  `CREATE TABLE IF NOT EXISTS ${schema}.producer (
    shard bigint NOT NULL REFERENCES ${schema}.shard ON DELETE CASCADE, id bytea NOT NULL, state text NOT NULL,
    PRIMARY KEY (shard, id))`,
  `CREATE TABLE IF NOT EXISTS ${schema}.attempt (
    shard bigint NOT NULL REFERENCES ${schema}.shard ON DELETE CASCADE, writer text NOT NULL, sequence bigint NOT NULL,
    outcomes text NOT NULL, PRIMARY KEY (shard, writer))`,
  `CREATE TABLE IF NOT EXISTS ${schema}.group_offset (
    grp bytea NOT NULL, shard text NOT NULL, off bigint NOT NULL, PRIMARY KEY (grp, shard))`,
];

export async function createTables(connections: PostgresConnections, schema: string): Promise<void> {
  await connections.transact(async (ask) => {
    await ask('SELECT pg_advisory_xact_lock($1)', [CREATION_LOCK]);
    for (const statement of tablesOf(schema)) await ask(statement);
  });
}

/** Judges the server and derives what a commit survives. StorageError ENGINE_UNFIT names the setting to change. */
export async function judgeServer(connections: PostgresConnections): Promise<Durability> {
  const names = ['server_version_num', 'fsync', 'full_page_writes', 'synchronous_commit', 'synchronous_standby_names'];
  const rows = await connections.ask(
    'SELECT name, current_setting(name) AS value FROM unnest($1::text[]) AS name UNION ALL SELECT $2, pg_is_in_recovery()::text',
    [names, 'recovery'],
  );
  const settings = new Map(rows.map(({ name, value }) => [String(name), String(value)]));
  if (Number(settings.get('server_version_num')) < VERSION_MIN) throw unfit('it is older than version 13');
  if (settings.get('recovery') === 'true') throw unfit('it is a standby, which takes no writes; name the primary');
  for (const name of ['fsync', 'full_page_writes'])
    if (settings.get(name) !== 'on')
      throw unfit(
        `${name} is ${settings.get(name)}: a loss of power would lose or damage what was committed; set it to on`,
      );
  if (settings.get('synchronous_commit') !== 'on')
    throw unfit(
      `synchronous_commit cannot be set to on; something in between changes it to ${settings.get('synchronous_commit')}`,
    );
  return settings.get('synchronous_standby_names') === '' ? 'single-fsync' : 'replicated-fsync';
}

const unfit = (text: string) => new StorageError('ENGINE_UNFIT', `this PostgreSQL cannot keep records: ${text}`);
