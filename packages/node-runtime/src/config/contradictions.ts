// Settings that are legal alone and wrong together.

import { type Address, isLoopback } from './address.js';

/** The settings that depend on each other. */
interface DependentSettings {
  readonly node_id: number;
  readonly roles: readonly string[];
  readonly grpc: { readonly bind: Address; readonly secret?: string | undefined };
  readonly meta: {
    readonly peers: ReadonlyMap<number, Address>;
    readonly heartbeat_ms: number;
    readonly election_ms: number;
  };
  readonly storage: {
    readonly type: string;
    readonly redis: { readonly url?: string | undefined };
    readonly postgres: { readonly url?: string | undefined };
  };
  readonly mqtt: {
    readonly listeners: { readonly tls: TlsSettings; readonly wss: TlsSettings };
    readonly auth: {
      readonly jwt: {
        readonly jwks_url?: string | undefined;
        readonly key_file?: string | undefined;
        readonly algorithms: readonly string[];
      };
    };
  };
}

interface TlsSettings {
  readonly bind: Address | 'off';
  readonly cert: readonly string[];
  readonly key: readonly string[];
  readonly ca?: string | undefined;
  readonly client_certificate: string;
}

export interface Contradiction {
  readonly path: readonly string[];
  readonly message: string;
}

export function* contradictions(config: DependentSettings): Iterable<Contradiction> {
  const { grpc, meta, node_id } = config;
  if (!isLoopback(grpc.bind.host) && grpc.secret === undefined) {
    yield {
      path: ['grpc', 'secret'],
      message: `is required because grpc.bind (${grpc.bind.host}) can be reached from other machines: set the same secret on every node, or bind to 127.0.0.1`,
    };
  }
  if (meta.election_ms < 4 * meta.heartbeat_ms) {
    yield {
      path: ['meta', 'election_ms'],
      message: `must be at least four times meta.heartbeat_ms (${meta.heartbeat_ms}), so that one lost heartbeat starts no election`,
    };
  }
  const { storage } = config;
  for (const engine of ['redis', 'postgres'] as const) {
    if (storage.type === engine && storage[engine].url === undefined)
      yield { path: ['storage', engine, 'url'], message: `is required because storage.type is ${engine}` };
  }
  const { jwt } = config.mqtt.auth;
  if (jwt.jwks_url !== undefined && jwt.key_file !== undefined) {
    yield { path: ['mqtt', 'auth', 'jwt', 'key_file'], message: 'is given beside mqtt.auth.jwt.jwks_url: one of them' };
  }
  const hasKeys = jwt.jwks_url !== undefined || jwt.key_file !== undefined;
  if (hasKeys !== jwt.algorithms.length > 0) {
    yield {
      path: ['mqtt', 'auth', 'jwt', 'algorithms'],
      message: hasKeys ? 'must name what tokens may be signed with, such as RS256' : 'needs a jwks_url or a key_file',
    };
  }
  yield* tlsContradictions('tls', config.mqtt.listeners.tls);
  yield* tlsContradictions('wss', config.mqtt.listeners.wss);
  const hasMeta = config.roles.includes('meta');
  if (hasMeta && meta.peers.size > 0 && !meta.peers.has(node_id)) {
    yield {
      path: ['meta', 'peers'],
      message: `does not list this node (node_id ${node_id}), which has the role meta: add it, or take the role away`,
    };
  }
  if (!hasMeta && meta.peers.size === 0) {
    yield {
      path: ['meta', 'peers'],
      message: 'is required without the role meta: name the node that has it, such as meta.peers.1=127.0.0.1:1228',
    };
  }
}

function* tlsContradictions(kind: 'tls' | 'wss', tls: TlsSettings): Iterable<Contradiction> {
  if (tls.bind === 'off') return;
  const path = ['mqtt', 'listeners', kind];
  if (tls.cert.length === 0) {
    yield { path: [...path, 'cert'], message: `is required because mqtt.listeners.${kind}.bind is not "off"` };
  }
  if (tls.cert.length !== tls.key.length) {
    const counts = `${tls.key.length} for ${tls.cert.length}`;
    yield { path: [...path, 'key'], message: `must name one key for each file of cert (${counts})` };
  }
  if (tls.client_certificate !== 'none' && tls.ca === undefined) {
    yield { path: [...path, 'ca'], message: `is required because client_certificate is "${tls.client_certificate}"` };
  }
}
