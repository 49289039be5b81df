import { createServer } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import { ManualClock } from '@robustmq/stdx/clock';
import { Health } from '../src/health.js';
import { type HttpServer, startHttpServer } from '../src/http-server.js';
import { createMetrics } from '../src/metrics.js';

const open: HttpServer[] = [];
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});

async function start(status: () => object = () => ({ nodeId: 1 })) {
  const health = new Health({ checks: ['quorum', 'storage'] });
  const metrics = createMetrics({ node: '1' });
  const server = await startHttpServer({ bind: { host: '127.0.0.1', port: 0 } }, { health, metrics, status });
  open.push(server);
  const get = (path: string, init?: RequestInit) => fetch(`http://127.0.0.1:${server.address.port}${path}`, init);
  return { server, health, metrics, get };
}

describe('/health/ready', () => {
  it('is 503 with each reason until every check is true, and again when stopping', async () => {
    const { health, get } = await start();
    const first = await get('/health/ready');
    expect(first.status).toBe(503);
    expect(first.headers.get('cache-control')).toBe('no-store');
    expect(await first.json()).toEqual({
      status: 'not ready',
      checks: {
        quorum: { ok: false, reason: 'not started yet' },
        storage: { ok: false, reason: 'not started yet' },
      },
    });
    let leader: number | undefined;
    health.bind('storage', async () => ({ ok: true, detail: 'journal' }));
    health.bind('quorum', () =>
      leader ? { ok: true, detail: `led by ${leader}` } : { ok: false, reason: 'no leader' },
    );
    expect(await (await get('/health/ready')).json()).toMatchObject({ checks: { quorum: { reason: 'no leader' } } });
    leader = 1;
    const ready = await get('/health/ready');
    expect(ready.status).toBe(200);
    expect(await ready.json()).toMatchObject({ status: 'ready', checks: { quorum: { ok: true, detail: 'led by 1' } } });
    health.stopping();
    expect((await get('/health/ready')).status).toBe(503);
    expect((await get('/health/live')).status).toBe(200);
  });

  it('takes a check that throws or does not answer for an untrue one', async () => {
    const clock = new ManualClock();
    const health = new Health({ checks: ['throws', 'hangs', 'rejects'], clock });
    health.bind('throws', () => {
      throw new TypeError('broken');
    });
    health.bind('rejects', () => Promise.reject(new TypeError('also broken')));
    health.bind('hangs', () => new Promise(() => {}));
    const report = health.report();
    await clock.advanceAndSettle(1000);
    expect((await report).checks).toEqual({
      throws: { ok: false, reason: 'broken' },
      rejects: { ok: false, reason: 'also broken' },
      hangs: { ok: false, reason: 'no answer within 1000 ms' },
    });
    expect(clock.pendingTimers).toBe(0);
  });
});

describe('the HTTP server', () => {
  it('says that a failed process is not live', async () => {
    const { health, get } = await start();
    health.failed('the log could not be synced');
    const live = await get('/health/live');
    expect([live.status, await live.json()]).toEqual([
      503,
      { status: 'failed', reason: 'the log could not be synced' },
    ]);
    expect((await get('/health/ready')).status).toBe(503);
  });

  it('answers status, HEAD, unknown paths and other methods', async () => {
    const { get } = await start();
    expect(await (await get('/status?verbose')).json()).toEqual({ nodeId: 1 });
    const head = await get('/health/live', { method: 'HEAD' });
    expect([head.status, await head.text()]).toEqual([200, '']);
    const lost = await get('/etc/passwd');
    expect([lost.status, await lost.json()]).toEqual([404, expect.objectContaining({ error: 'not found' })]);
    const post = await get('/status', { method: 'POST', body: 'x'.repeat(100_000) });
    expect([post.status, post.headers.get('allow')]).toEqual([405, 'GET, HEAD']);
  });

  it('answers 500 when what it asks fails, and goes on', async () => {
    const { get } = await start(() => {
      throw new TypeError('no status');
    });
    expect((await get('/status')).status).toBe(500);
    expect((await get('/health/live')).status).toBe(200);
  });

  it('names the address when its port is in use', async () => {
    const squatter = createServer();
    await new Promise<void>((resolve) => squatter.listen({ host: '127.0.0.1', port: 0 }, resolve));
    const { port } = squatter.address() as { port: number }; // it listens
    const bind = { host: '127.0.0.1', port };
    const deps = { health: new Health({ checks: [] }), metrics: createMetrics(), status: () => ({}) };
    await expect(startHttpServer({ bind }, deps)).rejects.toMatchObject({
      code: 'PORT_IN_USE',
      message: expect.stringContaining(`127.0.0.1:${port}: the port is in use`),
    });
    await new Promise((resolve) => squatter.close(resolve));
  });
});

describe('/metrics', () => {
  it('reads what the code counts at every scrape, beside the metrics of the process', async () => {
    const { metrics, get } = await start();
    let published = 1;
    metrics.counter({ name: 'robustmq_published_total', help: 'Messages published.' }, () => published);
    metrics.gauge({ name: 'robustmq_sessions', help: 'Sessions.' }, () => [
      { labels: { state: 'on"line' }, value: 2 },
      { labels: { state: 'offline' }, value: 3 },
    ]);
    metrics.histogram({ name: 'robustmq_append_seconds', help: 'Appends.', buckets: [0.1, 1] }).observe(0.5);
    published++;
    const response = await get('/metrics');
    expect(response.headers.get('content-type')).toContain('text/plain');
    const lines = (await response.text()).split('\n');
    expect(lines).toEqual(
      expect.arrayContaining([
        '# TYPE robustmq_published_total counter',
        'robustmq_published_total{node="1"} 2',
        '# TYPE robustmq_sessions gauge',
        'robustmq_sessions{state="on\\"line",node="1"} 2',
        'robustmq_sessions{state="offline",node="1"} 3',
        'robustmq_append_seconds_bucket{le="1",node="1"} 1',
        'robustmq_append_seconds_count{node="1"} 1',
      ]),
    );
    expect(lines.some((line) => line.startsWith('nodejs_eventloop_lag_p99_seconds'))).toBe(true);
    expect(lines.some((line) => line.startsWith('process_resident_memory_bytes'))).toBe(true);
  });

  it('refuses one name twice', () => {
    const metrics = createMetrics();
    metrics.counter({ name: 'twice_total', help: '.' }, () => 0);
    expect(() => metrics.gauge({ name: 'twice_total', help: '.' }, () => 0)).toThrow('already been registered');
  });
});
