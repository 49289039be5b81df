// A running broker: listeners, connections, the control plane, and the engine they all stand on.

import { randomBytes } from 'node:crypto';
import type { Clock } from '@robustmq/stdx/clock';
import { type Logger, nullLogger } from '@robustmq/stdx/logger';
import { type MetricsRegistry, nullMetrics } from '@robustmq/stdx/metrics';
import { AedesControlPlane } from './aedes/control-plane.js';
import type { AedesHooks } from './aedes/hooks.js';
import type { RobustAedes } from './aedes/robust-aedes.js';
import { checkAedesSeam } from './aedes/seam-check.js';
import type { Access } from './auth/access.js';
import type { Authenticator } from './auth/authenticator.js';
import { type Authorizer, both, reservedTopicsAuthorizer } from './auth/authorizer.js';
import { Permission } from './auth/permission.js';
import { ReasonCode } from './codec/reason-codes.js';
import { Connection } from './connection/connection.js';
import { type ConnectionDeps, newConnectionCounters } from './connection/connection-deps.js';
import { DeadlineWheel } from './connection/deadline-wheel.js';
import { RefusalLog } from './connection/refusal-log.js';
import type { ClientTransport } from './connection/transport.js';
import { WriteTurn } from './connection/write-turn.js';
import type { Listener } from './listener/listener.js';
import { openListener } from './listener/open-listener.js';
import { type BrokerNumbers, registerBrokerMetrics } from './metrics.js';
import type { ListenerOptions, ResolvedBrokerOptions } from './options.js';
import type { LocalMessage, MessageListener, SessionEngine } from './session/session-port.js';
import { SysTopics } from './sys/sys-topics.js';
import { BROKER_VERSION } from './version.js';

/** What an embedding program may add. */
export interface BrokerHooks {
  /** Asked in order; the first that knows the client decides. Those of the options are asked before them. */
  readonly authenticators?: readonly Authenticator[];
  /** Asked for every PUBLISH and topic filter, after the rule for reserved topics. Default: everything else is allowed. */
  readonly authorizer?: Authorizer;
  readonly aedes?: AedesHooks;
}

export interface BrokerDeps {
  readonly clock: Clock;
  readonly logger?: Logger;
  readonly metrics?: MetricsRegistry;
  readonly hooks?: BrokerHooks;
  /** What the options say of who may do what; asked before the hooks. The broker's from open() on. */
  readonly access?: Access;
  /** For clients that send no client id. Default: 16 random bytes. */
  readonly newClientId?: () => string;
}

/** The rule for reserved topics, then the access rules, then what the embedding program says. */
export function authorizerOf({ access, hooks }: Pick<BrokerDeps, 'access' | 'hooks'>): Authorizer {
  const ruled = access ? both(reservedTopicsAuthorizer, access.acl) : reservedTopicsAuthorizer;
  return hooks?.authorizer ? both(ruled, hooks.authorizer) : ruled;
}

/** Sockets of a full node that are open for a moment, to be refused with a count and a line. */
const REFUSED_AT_ONCE = 64;
const REJECTION_LOG_INTERVAL_MS = 10_000;

export class Broker implements AsyncDisposable {
  /** The control plane: an aedes instance, for its events and its registry of clients. */
  readonly aedes: RobustAedes;
  readonly #engine: SessionEngine;
  readonly #options: ResolvedBrokerOptions;
  readonly #connectionDeps: ConnectionDeps;
  readonly #plane: AedesControlPlane;
  readonly #sys: SysTopics;
  readonly #access: Access | undefined;
  readonly #connections: Set<Connection>;
  readonly #listeners: Listener[] = [];
  #state: 'open' | 'closing' | 'closed' = 'open';
  #rejected = 0;
  #rejectionLoggedMs = Number.NEGATIVE_INFINITY;
  #onEmpty: (() => void) | undefined;
  #closing: Promise<void> | undefined;

  /** One function for all connections. */
  readonly #forget = (connection: Connection): void => {
    this.#connections.delete(connection);
    if (this.#connections.size === 0) this.#onEmpty?.();
  };

  private constructor(parts: {
    readonly engine: SessionEngine;
    readonly options: ResolvedBrokerOptions;
    readonly deps: BrokerDeps;
    readonly plane: AedesControlPlane;
  }) {
    const { engine, options, deps, plane } = parts;
    const { clock, logger = nullLogger, metrics = nullMetrics } = deps;
    this.#engine = engine;
    this.#options = options;
    this.#plane = plane;
    this.#access = deps.access;
    this.aedes = plane.aedes;
    this.#connections = new Set();
    const allowed = authorizerOf(deps);
    const authorizer = plane.authorizer ? both(allowed, plane.authorizer) : allowed;
    this.#connectionDeps = {
      engine,
      control: plane,
      permission: new Permission({ authorizer, clock, logger, timeoutMs: options.permissionTimeoutMs }),
      wheel: new DeadlineWheel(clock),
      turn: new WriteTurn(clock),
      clock,
      logger,
      refusals: new RefusalLog(clock, logger),
      limits: options.limits,
      counters: newConnectionCounters(),
      newClientId: deps.newClientId ?? (() => `auto-${randomBytes(16).toString('base64url')}`),
    };
    const numbers: BrokerNumbers = {
      counters: this.#connectionDeps.counters,
      turn: this.#connectionDeps.turn,
      connections: () => this.#connections.size,
      connectionsRejected: () => this.#rejected,
      engine: () => engine.stats,
    };
    registerBrokerMetrics(metrics, numbers);
    const publish = (message: LocalMessage) => engine.publish(message);
    const { sysIntervalMs: intervalMs } = options;
    this.#sys = new SysTopics({ numbers, publish, clock, logger, version: BROKER_VERSION, intervalMs });
  }

  /** Opens the broker over an engine that is open, and is its from now on. Listeners are open when it resolves. */
  static async open(engine: SessionEngine, options: ResolvedBrokerOptions, deps: BrokerDeps): Promise<Broker> {
    const { clock, logger = nullLogger, hooks } = deps;
    const nextTurn = () => new Promise<void>((resolve) => clock.setImmediate(resolve));
    await checkAedesSeam({ logger, nextTurn });
    const authenticators = [...(deps.access?.authenticators ?? []), ...(hooks?.authenticators ?? [])];
    const plane = await AedesControlPlane.open({
      authenticators,
      anonymous: options.auth.anonymous,
      path: engine,
      logger,
      hooks: hooks?.aedes ?? {},
    });
    const broker = new Broker({ engine, options, deps, plane });
    try {
      for (const listener of options.listeners) broker.#listeners.push(await broker.#listen(listener));
    } catch (error) {
      await broker.#closeDoors();
      throw error;
    }
    broker.#sys.start();
    return broker;
  }

  /** Where clients connect, in the order of the options; port 0 is replaced by the one that was given. */
  get addresses(): readonly Pick<Listener, 'kind' | 'url' | 'host' | 'port'>[] {
    return this.#listeners.map(({ kind, url, host, port }) => ({ kind, url, host, port }));
  }

  get connectionCount(): number {
    return this.#connections.size;
  }

  /** Serves a client on a transport of the caller's: for tests, and for carriers that are not built in. */
  accept(transport: ClientTransport): void {
    if (this.#state !== 'open') {
      transport.destroy();
      return;
    }
    if (this.#connections.size >= this.#options.connectionsMax) {
      this.#reject(transport);
      return;
    }
    const connection = new Connection(transport, this.#connectionDeps, this.#forget);
    this.#connections.add(connection);
    connection.start();
  }

  /** Resolves when a QoS 1 or 2 message is as safe as its durable subscribers need it; at once for QoS 0. */
  publish(message: LocalMessage): Promise<void> {
    return this.#engine.publish(message);
  }

  /** Calls the listener with every message that matches, as published; returns the way to stop. */
  subscribe(topicFilter: string, listener: MessageListener): () => void {
    return this.#engine.subscribe(topicFilter, listener);
  }

  /**
   * Stops accepting, tells clients of MQTT 5 that the server shuts down (0x8B), keeps what sessions need,
   * then ends, and the engine with it. Storage and meta stay open: they belong to whoever opened them.
   */
  close(): Promise<void> {
    this.#closing ??= this.#closeDoors().then(() => {
      this.#access?.close();
      return this.#engine.close();
    });
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #closeDoors(): Promise<void> {
    this.#state = 'closing';
    this.#sys.close();
    const listeners = this.#listeners.map((listener) => listener.close());
    const emptied = new Promise<void>((resolve) => {
      this.#onEmpty = resolve;
    });
    for (const connection of this.#connections) connection.disconnect(ReasonCode.serverShuttingDown);
    if (this.#connections.size > 0) await emptied;
    await Promise.all(listeners);
    await this.#plane.close();
    this.#connectionDeps.wheel.close();
    this.#state = 'closed';
  }

  #listen(listener: ListenerOptions): Promise<Listener> {
    const { clock, logger, refusals, limits } = this.#connectionDeps;
    return openListener(listener, {
      accept: (transport) => this.accept(transport),
      clock,
      logger,
      refusals,
      connectTimeoutMs: limits.connectTimeoutMs,
      packetBytesMax: limits.packetBytesMax,
      connectionsMax: this.#options.connectionsMax + REFUSED_AT_ONCE,
    });
  }

  #reject(transport: ClientTransport): void {
    this.#rejected++;
    transport.destroy();
    const { clock, logger } = this.#connectionDeps;
    if (clock.now() - this.#rejectionLoggedMs < REJECTION_LOG_INTERVAL_MS) return; // a flood must not become a flood of lines
    this.#rejectionLoggedMs = clock.now();
    const { connectionsMax } = this.#options;
    logger.warn(
      { connectionsMax, rejected: this.#rejected, peer: transport.peer.address },
      'too many connections: new ones are closed at once (mqtt.limits.max_connections)',
    );
  }
}
