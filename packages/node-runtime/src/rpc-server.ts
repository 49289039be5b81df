// The gRPC server of a node: it listens before anything else is started, so that peers can reach this node, and
// each service answers UNAVAILABLE until it is mounted.
//
// Invariants:
//   G1. A call without the shared secret reaches no service and its messages are not read. Only the health
//       service may be asked without it, because probes carry no secrets.
//   G2. A declared service that is not mounted answers UNAVAILABLE, never UNIMPLEMENTED: the first means come
//       again, the second go away.

import {
  logVerbosity,
  type MethodDefinition,
  Server,
  ServerCredentials,
  type ServiceDefinition,
  setLogVerbosity,
  status,
  type UntypedHandleCall,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { assert } from '@robustmq/stdx/assert';
import { MiB } from '@robustmq/stdx/byte-size';
import { type Clock, systemClock } from '@robustmq/stdx/clock';
import { type Logger, nullLogger } from '@robustmq/stdx/logger';
import { type Address, formatAddress } from './config/address.js';
import { HealthService } from './gen/grpc/health/v1/health.js';
import type { Health } from './health.js';
import { listenError } from './listen-error.js';
import { grpcHealth } from './rpc-health.js';
import { requireSecret } from './rpc-secret.js';

export interface RpcServerOptions {
  readonly bind: Address;
  /** The shared secret every call must carry; without it every call is let in. */
  readonly secret?: string | undefined;
  /** All services this node may ever offer: callers hear "starting" from them until they are mounted. */
  readonly services: readonly ServiceDefinition[];
  /**
   * Milliseconds calls in progress may take when closing; then they are cut. Default 2,000: unary calls take
   * milliseconds, and streams between nodes never end by themselves.
   */
  readonly closeDeadlineMs?: number;
}

export interface RpcServerDeps {
  readonly log?: Logger;
  readonly clock?: Clock;
  /** Answers grpc.health.v1. */
  readonly health: Health;
  /** What the node is doing while a service is not mounted: `step 2 (meta)`. */
  readonly activity?: () => string | undefined;
}

export interface RpcServer extends AsyncDisposable {
  /** With the port the system chose, when 0 was asked for. */
  readonly address: Address;
  /** From now on calls of the service reach the implementation. */
  mount<Service extends UntypedServiceImplementation>(
    definition: ServiceDefinition<Service>,
    implementation: NoInfer<Service>,
  ): void;
  close(): Promise<void>;
}

/**
 * One message, in bytes, at most; grpc's own limit of 4 MiB is below a batch of large records.
 */
const MESSAGE_BYTES_MAX = 32 * MiB;

/**
 * How soon a dead peer is noticed. Asked every second; the answer may take five, because a peer that stalls for a
 * second collecting garbage is alive, and here too a due timer runs before a waiting answer is read.
 */
const KEEPALIVE_EVERY_MS = 1000;
const KEEPALIVE_ANSWER_MS = 5000;

/** Resolves when the server listens. Throws PORT_IN_USE or ADDRESS_UNUSABLE. */
export async function startRpcServer(options: RpcServerOptions, deps: RpcServerDeps): Promise<RpcServer> {
  // grpc-js writes to the console by itself; what it would say there we throw or log.
  setLogVerbosity(logVerbosity.NONE);
  const server = new MountableServer(options, deps);
  await server.listen();
  return server;
}

class MountableServer implements RpcServer {
  readonly #server: Server;
  readonly #options: RpcServerOptions;
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #activity: () => string | undefined;
  readonly #health: ReturnType<typeof grpcHealth>;
  /** By the path of the method; missing until its service is mounted (G2). */
  readonly #handlers = new Map<string, UntypedHandleCall>();
  readonly #declared: ReadonlySet<ServiceDefinition>;
  #port: number;
  #closing: Promise<void> | undefined;

  constructor(options: RpcServerOptions, { log = nullLogger, clock = systemClock, health, activity }: RpcServerDeps) {
    this.#options = options;
    this.#log = log;
    this.#clock = clock;
    this.#activity = activity ?? (() => undefined);
    this.#port = options.bind.port;
    this.#declared = new Set(options.services);
    this.#server = new Server({
      'grpc.max_receive_message_length': MESSAGE_BYTES_MAX,
      'grpc.max_send_message_length': MESSAGE_BYTES_MAX,
      'grpc.keepalive_time_ms': KEEPALIVE_EVERY_MS,
      'grpc.keepalive_timeout_ms': KEEPALIVE_ANSWER_MS,
      'grpc.keepalive_permit_without_calls': 1,
      interceptors: options.secret === undefined ? [] : [requireSecret(options.secret, healthPaths)], // G1
    });
    for (const definition of options.services) this.#declare(definition);
    this.#health = grpcHealth({ health, clock });
    this.#server.addService(HealthService, this.#health.service);
  }

  get address(): Address {
    return { host: this.#options.bind.host, port: this.#port };
  }

  async listen(): Promise<void> {
    const { bind } = this.#options;
    this.#port = await new Promise<number>((resolve, reject) => {
      this.#server.bindAsync(formatAddress(bind), ServerCredentials.createInsecure(), (error, port) => {
        if (error) reject(listenError(error, { what: 'the gRPC server', address: bind, setting: 'grpc.bind' }));
        else resolve(port);
      });
    });
    this.#log.debug({ address: formatAddress(this.address) }, 'gRPC listens');
  }

  mount<Service extends UntypedServiceImplementation>(
    definition: ServiceDefinition<Service>,
    implementation: NoInfer<Service>,
  ): void {
    assert(this.#declared.has(definition), 'a service is declared when the server starts, and mounted later');
    for (const [name, method] of methodsOf(definition)) {
      const handler = implementation[name];
      assert(handler, `the implementation of ${method.path} is there`);
      this.#handlers.set(method.path, handler.bind(implementation) as UntypedHandleCall); // binding changes no type
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#closeOnce();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #closeOnce(): Promise<void> {
    this.#health.close();
    return new Promise((resolve) => {
      const timer = this.#clock.setTimer(this.#options.closeDeadlineMs ?? 2000, () => {
        this.#log.debug('gRPC calls still open were cut');
        this.#server.forceShutdown();
        resolve();
      });
      this.#server.tryShutdown((error) => {
        timer.cancel();
        if (error) this.#server.forceShutdown();
        resolve();
      });
    });
  }

  #declare(definition: ServiceDefinition): void {
    const forwarders: Record<string, UntypedHandleCall> = {};
    for (const [name, method] of methodsOf(definition)) forwarders[name] = this.#forwarder(method);
    this.#server.addService(definition, forwarders);
  }

  #forwarder({ path, responseStream }: MethodDefinition<unknown, unknown>): UntypedHandleCall {
    const forward = (call: RefusableCall, answer: (refusal: Refusal) => void) => {
      const handler = this.#handlers.get(path) as ((call: unknown, answer: unknown) => void) | undefined; // all four shapes take these two
      if (handler) return handler(call, answer);
      const refusal = { code: status.UNAVAILABLE, details: this.#activity() ?? 'starting' }; // G2
      if (responseStream) call.emit('error', refusal);
      else answer(refusal);
    };
    return forward as unknown as UntypedHandleCall; // grpc-js calls each of the four kinds of handler this way
  }
}

interface Refusal {
  readonly code: status;
  readonly details: string;
}

interface RefusableCall {
  emit(event: 'error', refusal: Refusal): boolean;
}

const healthPaths: ReadonlySet<string> = new Set(methodsOf(HealthService).map(([, { path }]) => path));

function methodsOf(definition: ServiceDefinition): readonly (readonly [string, MethodDefinition<unknown, unknown>])[] {
  return Object.entries(definition);
}
