// Health, status and metrics over HTTP, for probes, scrapers and operators. Reads only, changes nothing.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Clock, systemClock } from '@robustmq/stdx/clock';
import { errorMessage } from '@robustmq/stdx/coded-error';
import { type Logger, nullLogger } from '@robustmq/stdx/logger';
import { type Address, formatAddress } from './config/address.js';
import type { Health } from './health.js';
import { listenError } from './listen-error.js';
import type { PrometheusMetrics } from './metrics.js';

export interface HttpServerOptions {
  readonly bind: Address;
}

export interface HttpServerDeps {
  readonly log?: Logger;
  readonly clock?: Clock;
  readonly health: Health;
  readonly metrics: PrometheusMetrics;
  /** What `/status` answers, as JSON: who this node is and what it does. Read at every request. */
  readonly status: () => object | Promise<object>;
}

export interface HttpServer extends AsyncDisposable {
  readonly address: Address;
  close(): Promise<void>;
}

/** Connections at one time: probes and scrapers, a handful. More are refused by the socket. */
const CONNECTIONS_MAX = 256;
const HEADERS_MAX = 64;
/** A request carries no body we read; a client slower than this is gone. */
const REQUEST_MS_MAX = 5000;
/** Answers in progress may take this long when closing. */
const CLOSE_MS_MAX = 1000;

interface Answer {
  readonly code: number;
  readonly type: string;
  readonly body: string;
}

type Route = () => Promise<Answer> | Answer;

/** Resolves when the server listens. Throws PORT_IN_USE or ADDRESS_UNUSABLE. */
export async function startHttpServer({ bind }: HttpServerOptions, deps: HttpServerDeps): Promise<HttpServer> {
  const { log = nullLogger, clock = systemClock } = deps;
  const routes = routesOf(deps);
  const server = createServer(
    { requestTimeout: REQUEST_MS_MAX, headersTimeout: REQUEST_MS_MAX },
    (request, response) => {
      void respond({ request, response, routes, log });
    },
  );
  server.maxConnections = CONNECTIONS_MAX;
  server.maxHeadersCount = HEADERS_MAX;
  await listen(server, bind);
  const { port } = server.address() as AddressInfo; // a TCP server that listens has one
  const address = { host: bind.host, port };
  log.debug({ address: formatAddress(address) }, 'HTTP listens');

  let closing: Promise<void> | undefined;
  const close = () => {
    closing ??= closeWithin(server, clock);
    return closing;
  };
  return { address, close, [Symbol.asyncDispose]: close };
}

function routesOf({ health, metrics, status }: HttpServerDeps): ReadonlyMap<string, Route> {
  return new Map<string, Route>([
    [
      '/health/live',
      () => {
        const live = health.live();
        return live.ok ? json(200, { status: 'live' }) : json(503, { status: 'failed', reason: live.reason });
      },
    ],
    [
      '/health/ready',
      async () => {
        const report = await health.report();
        return json(report.status === 'ready' ? 200 : 503, report);
      },
    ],
    ['/status', async () => json(200, await status())],
    ['/metrics', async () => ({ code: 200, type: metrics.contentType, body: await metrics.expose() })],
  ]);
}

interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly routes: ReadonlyMap<string, Route>;
  readonly log: Logger;
}

async function respond({ request, response, routes, log }: Exchange): Promise<void> {
  request.resume(); // a body is let through and dropped
  const answer = await answerTo(request, routes).catch((error: unknown) => {
    log.error({ err: error, path: request.url }, 'an HTTP request failed');
    return json(500, { error: errorMessage(error) });
  });
  response.writeHead(answer.code, {
    'content-type': answer.type,
    'content-length': Buffer.byteLength(answer.body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...(answer.code === 405 ? { allow: 'GET, HEAD' } : {}),
  });
  response.end(request.method === 'HEAD' ? undefined : answer.body);
}

async function answerTo({ method, url }: IncomingMessage, routes: ReadonlyMap<string, Route>): Promise<Answer> {
  if (method !== 'GET' && method !== 'HEAD') return json(405, { error: 'only GET and HEAD are known here' });
  const [path] = (url ?? '/').split('?');
  const route = routes.get(path ?? '/');
  return route ? await route() : json(404, { error: 'not found', known: [...routes.keys()] });
}

function json(code: number, value: object): Answer {
  return { code, type: 'application/json; charset=utf-8', body: `${JSON.stringify(value)}\n` };
}

function listen(server: Server, bind: Address): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (error: Error) => {
      reject(listenError(error, { what: 'the HTTP server', address: bind, setting: 'http.bind' }));
    };
    server.once('error', failed);
    server.listen({ host: bind.host, port: bind.port }, () => {
      server.off('error', failed);
      resolve();
    });
  });
}

function closeWithin(server: Server, clock: Clock): Promise<void> {
  return new Promise((resolve) => {
    const timer = clock.setTimer(CLOSE_MS_MAX, () => server.closeAllConnections());
    server.close(() => {
      timer.cancel();
      resolve();
    });
    server.closeIdleConnections();
  });
}
