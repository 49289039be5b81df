// Whether a Redis server may be trusted with records, judged at start. What would lose them silently is refused.

import type { Logger } from '@robustmq/stdx/logger';
import { StorageError } from '../errors.js';
import type { RedisConnection, RedisReply } from './redis-connection.js';

/** XTRIM by id, ranges that exclude their ends. */
const VERSION_MIN = [6, 2] as const;

/** StorageError ENGINE_UNFIT, which names the setting and the value it must have. */
export async function checkServer(connection: RedisConnection): Promise<void> {
  const info = String(await connection.call('INFO'));
  const [major = 0, minor = 0] = (infoValue(info, 'redis_version') ?? '').split('.').map(Number);
  if (major < VERSION_MIN[0] || (major === VERSION_MIN[0] && minor < VERSION_MIN[1]))
    throw unfit(`it is version ${major}.${minor}; ${VERSION_MIN.join('.')} or later is needed`);
  if (infoValue(info, 'cluster_enabled') === '1')
    throw unfit('it is a node of a Redis Cluster; a single server, or one behind Sentinel, is needed');
  if (infoValue(info, 'role') !== 'master') throw unfit('it is a replica, which takes no writes; name the master');
}

/** The same for the settings that decide what a loss of power costs. */
export async function checkSettings(connection: RedisConnection, logger: Logger): Promise<void> {
  const policy = await setting(connection, 'maxmemory-policy');
  if (policy !== 'noeviction')
    throw unfit(
      `maxmemory-policy is ${policy}: it would throw records away when memory runs short; set it to noeviction`,
    );
  const appendOnly = await setting(connection, 'appendonly');
  if (appendOnly !== 'yes')
    throw unfit(`appendonly is ${appendOnly}: a restart would lose minutes of records; set it to yes`);
  const sync = await setting(connection, 'appendfsync');
  if (sync !== 'always' && sync !== 'everysec')
    throw unfit(`appendfsync is ${sync}: nobody knows when records reach the disk; set it to always or everysec`);
  const loss =
    sync === 'always'
      ? 'a failover may lose what a replica has not received'
      : 'a loss of power may lose two seconds of acknowledged records, a failover what a replica has not received';
  logger.warn({ engine: 'redis', appendfsync: sync }, `storage in redis is of class bounded-loss: ${loss}`);
}

async function setting(connection: RedisConnection, name: string): Promise<string> {
  let reply: RedisReply;
  try {
    reply = await connection.call('CONFIG', 'GET', name);
  } catch (cause) {
    const text = `its setting ${name} cannot be read; allow CONFIG GET, or set settingsCheck to skipped and answer for it`;
    throw unfit(text, cause);
  }
  return Array.isArray(reply) ? String(reply[1]) : 'unknown';
}

function infoValue(info: string, name: string): string | undefined {
  return new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1];
}

const unfit = (text: string, cause?: unknown) =>
  new StorageError('ENGINE_UNFIT', `this redis cannot keep records: ${text}`, { cause });
