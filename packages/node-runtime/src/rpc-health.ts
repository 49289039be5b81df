import { type ServerWritableStream, status } from '@grpc/grpc-js';
import type { Clock, Timer } from '@robustmq/stdx/clock';
import {
  type HealthCheckRequest,
  type HealthCheckResponse,
  type HealthServer,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from './gen/grpc/health/v1/health.js';
import type { Health } from './health.js';

/** Milliseconds between two looks while somebody watches. */
const WATCH_EVERY_MS = 1000;

/** More watchers at one time are refused: a node has a handful of probes. */
const WATCHERS_MAX = 64;

/** grpc.health.v1 for the whole server, whose name is empty; single services are not told apart. */
export function grpcHealth({ health, clock }: { readonly health: Health; readonly clock: Clock }) {
  const watchers = new Set<Watcher>();
  const service: HealthServer = {
    check: (call, answer) => {
      if (call.request.service !== '') return answer({ code: status.NOT_FOUND, details: ONLY_WHOLE });
      servingStatus(health).then((state) => answer(null, { status: state }), answer);
    },
    watch: (call) => {
      if (call.request.service !== '') {
        call.write({ status: ServingStatus.SERVICE_UNKNOWN });
        call.end();
        return;
      }
      if (watchers.size >= WATCHERS_MAX) {
        call.emit('error', { code: status.RESOURCE_EXHAUSTED, details: `${WATCHERS_MAX} watchers are the limit` });
        return;
      }
      const watcher = new Watcher(call, { health, clock });
      watchers.add(watcher);
      call.on('close', () => {
        watcher.stop();
        watchers.delete(watcher);
      });
      watcher.look();
    },
  };
  return {
    service,
    close: () => {
      for (const watcher of watchers) watcher.end();
      watchers.clear();
    },
  };
}

const ONLY_WHOLE = 'only the health of the whole server is known: ask with an empty service name';

class Watcher {
  readonly #call: ServerWritableStream<HealthCheckRequest, HealthCheckResponse>;
  readonly #health: Health;
  readonly #clock: Clock;
  #timer: Timer | undefined;
  #told: ServingStatus | undefined;
  #phase: 'watching' | 'stopped' = 'watching';

  constructor(
    call: ServerWritableStream<HealthCheckRequest, HealthCheckResponse>,
    { health, clock }: { readonly health: Health; readonly clock: Clock },
  ) {
    this.#call = call;
    this.#health = health;
    this.#clock = clock;
  }

  /** Tells the state when it is another than the one told last, and looks again later. */
  look(): void {
    void servingStatus(this.#health).then((state) => {
      if (this.#phase === 'stopped') return;
      if (state !== this.#told) this.#call.write({ status: state });
      this.#told = state;
      this.#timer = this.#clock.setTimer(WATCH_EVERY_MS, () => this.look());
    });
  }

  stop(): void {
    this.#phase = 'stopped';
    this.#timer?.cancel();
  }

  end(): void {
    this.stop();
    this.#call.write({ status: ServingStatus.NOT_SERVING });
    this.#call.end();
  }
}

async function servingStatus(health: Health): Promise<ServingStatus> {
  const report = await health.report();
  return report.status === 'ready' ? ServingStatus.SERVING : ServingStatus.NOT_SERVING;
}
