// The broker of a node, from its settings.

import type { MetaClient } from '@robustmq/meta-raft/client';
import {
  type BrokerOptions,
  type ListenerOptions,
  MqttError,
  type RunningBroker,
  startBroker,
} from '@robustmq/mqtt-broker';
import { type Config, checkFileDescriptors, formatAddress, RuntimeError } from '@robustmq/node-runtime';
import type { ShardStorage } from '@robustmq/storage-adapter';
import type { Node } from './node.js';

/** Sessions are recovered and the listeners open when it resolves. */
export async function startBrokerRole(
  node: Node,
  deps: { readonly meta: MetaClient; readonly storage: ShardStorage },
): Promise<RunningBroker> {
  const { config, clock, prng, log, metrics, addresses } = node;
  const logger = log.child({ part: 'broker' });
  const broker = await startBroker(brokerOptions(node), {
    ...deps,
    clock,
    prng: prng.fork('broker'),
    logger,
    metrics,
  }).catch((error: unknown) => {
    throw withSetting(error, config);
  });
  for (const { kind, host, port } of broker.addresses) addresses.set(kind === 'tcp' ? 'mqtt' : kind, `${host}:${port}`);
  node.health.bind('listeners', () =>
    broker.addresses.length > 0 || allOff(config) ? { ok: true } : { ok: false, reason: 'no listener is open' },
  );
  return broker;
}

/** The broker names the address it cannot have; who configured it wants the name of the setting. */
function withSetting(error: unknown, { mqtt }: Config): unknown {
  if (!(error instanceof MqttError) || error.code !== 'ADDRESS_IN_USE') return error;
  const named = Object.entries(mqtt.listeners).find(
    ([, { bind }]) => bind !== 'off' && error.message.includes(` ${formatAddress(bind)}:`),
  );
  const setting = named === undefined ? '' : ` (mqtt.listeners.${named[0]}.bind)`;
  return new RuntimeError('PORT_IN_USE', `${error.message}${setting}`, { cause: error });
}

function brokerOptions(node: Node): BrokerOptions {
  const { mqtt, journal } = node.config;
  const { limits, auth } = mqtt;
  return {
    listeners: listenersOf(node.config),
    auth: { ...authOf(auth), acl: mqtt.acl },
    limits: {
      packetBytesMax: limits.max_packet_bytes,
      connectionsMax: possibleConnections(node),
      connectTimeoutMs: limits.connect_timeout_ms,
    },
    engine: {
      inflightMax: limits.max_inflight,
      queuedMessagesMax: limits.max_queued_messages,
      subscriptionsMax: limits.max_subscriptions,
      topicLevelsMax: limits.max_topic_levels,
      retainedMessagesMax: limits.max_retained_messages,
      retainedBytesMax: limits.max_retained_bytes,
      sessionExpirySecondsMax: limits.session_expiry_max_seconds,
      messageRetentionMs: journal.retention_ms,
      messageRetentionBytes: journal.retention_bytes,
    },
  };
}

function authOf({ anonymous, users, order, ...auth }: Config['mqtt']['auth']): NonNullable<BrokerOptions['auth']> {
  const { jwt, http, certificate_username: certificate } = auth;
  const hasKeys = jwt.jwks_url !== undefined || jwt.key_file !== undefined;
  return {
    anonymous,
    users,
    order,
    passwordFile: auth.password_file,
    certificate: certificate === 'none' ? undefined : certificate,
    jwt: hasKeys
      ? {
          jwksUrl: jwt.jwks_url,
          keyFile: jwt.key_file,
          algorithms: jwt.algorithms,
          issuer: jwt.issuer,
          audience: jwt.audience,
          usernameClaim: jwt.username_claim,
        }
      : undefined,
    http: http.url === undefined ? undefined : { url: http.url, timeoutMs: http.timeout_ms, cacheMs: http.cache_ms },
  };
}

function listenersOf({ mqtt }: Config): ListenerOptions[] {
  const { tcp, tls, ws, wss } = mqtt.listeners;
  const listeners: ListenerOptions[] = [];
  if (tcp.bind !== 'off') listeners.push({ kind: 'tcp', ...tcp.bind, proxyProtocol: tcp.proxy_protocol });
  if (tls.bind !== 'off') {
    listeners.push({ kind: 'tls', ...tls.bind, proxyProtocol: tls.proxy_protocol, tls: tlsOf(tls) });
  }
  if (ws.bind !== 'off') listeners.push({ kind: 'ws', ...ws.bind, proxyProtocol: ws.proxy_protocol, path: ws.path });
  if (wss.bind !== 'off') {
    listeners.push({ kind: 'wss', ...wss.bind, proxyProtocol: wss.proxy_protocol, path: wss.path, tls: tlsOf(wss) });
  }
  return listeners;
}

function tlsOf({
  cert,
  key,
  ca,
  crl,
  client_certificate,
  min_version,
}: Config['mqtt']['listeners']['tls']): Extract<ListenerOptions, { kind: 'tls' }>['tls'] {
  return {
    certificates: cert.map((file, index) => ({ cert: file, key: key[index] ?? '' })), // as many keys: contradictions.ts
    ca,
    crl,
    clientCertificate: client_certificate,
    minVersion: `TLSv${min_version}`,
  };
}

const allOff = (config: Config): boolean => listenersOf(config).length === 0;

/** As many as asked for; fewer, aloud, where the system allows fewer and nobody asked. */
function possibleConnections({ config, loaded, log }: Node): number {
  const verdict = checkFileDescriptors({
    maxConnections: config.mqtt.limits.max_connections,
    isExplicit: loaded.given.has('mqtt.limits.max_connections'),
  });
  if (verdict.kind === 'lowered') log.info(verdict.warning);
  return verdict.maxConnections;
}
