// Debian's mosquitto_pub and mosquitto_sub against the built artefact. `.ci/run` installs them; where they are
// absent these tests are skipped, and say so.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ServerProcess } from '../src/server-process.js';

const installed = spawnSync('mosquitto_pub', ['--help']).error === undefined;
if (!installed)
  process.stderr.write(
    'skipped: mosquitto_pub and mosquitto_sub are not installed (apt-get install mosquitto-clients)\n',
  );

(installed ? describe : describe.skip)('mosquitto_pub and mosquitto_sub', () => {
  let server: ServerProcess;
  let port: string;
  let dataPath: string;

  beforeAll(async () => {
    dataPath = await mkdtemp(join(tmpdir(), 'robustmq-mosquitto-'));
    server = new ServerProcess({ dataPath });
    port =
      String((await server.ready()).mqtt)
        .split(':')
        .at(-1) ?? '';
  }, 30_000);

  afterAll(async () => {
    await server.end();
    await rm(dataPath, { recursive: true, force: true });
  });

  /** Starts a subscriber for `count` messages; `subscribed` resolves when the broker has granted it. */
  function subscribe(args: readonly string[], count: number) {
    // Its output goes to a pipe, and must not wait in a buffer until it ends.
    const child = spawn('stdbuf', [
      '-oL',
      'mosquitto_sub',
      '-p',
      port,
      '-d',
      '-C',
      String(count),
      '-F',
      'GOT %t %q %r %p',
      ...args,
    ]);
    const got: string[] = [];
    let granted = () => {};
    const subscribed = new Promise<void>((resolve) => {
      granted = resolve;
    });
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (line.startsWith('GOT ')) got.push(line.slice(4));
      if (/^Subscribed/.test(line)) granted();
    });
    return { subscribed, done: once(child, 'close').then(() => got) };
  }

  async function publish(args: readonly string[]): Promise<void> {
    const child = spawn('mosquitto_pub', ['-p', port, ...args]);
    const [code] = await once(child, 'close');
    expect(code).toBe(0);
  }

  for (const version of ['mqttv311', 'mqttv5'] as const) {
    for (const qos of ['0', '1', '2'] as const) {
      it(`publishes and receives, ${version}, QoS ${qos}`, async () => {
        const topic = `mosquitto/${version}/${qos}`;
        const subscriber = subscribe(['-V', version, '-q', qos, '-t', `mosquitto/${version}/+`], 1);
        await subscriber.subscribed;
        await publish(['-V', version, '-q', qos, '-t', topic, '-m', 'hello there']);
        expect(await subscriber.done).toEqual([`${topic} ${qos} 0 hello there`]);
      }, 20_000);
    }
  }

  it('gets the retained message', async () => {
    await publish(['-q', '1', '-r', '-t', 'mosquitto/retained', '-m', 'the newest']);
    expect(await subscribe(['-q', '1', '-t', 'mosquitto/retained'], 1).done).toEqual([
      'mosquitto/retained 1 1 the newest',
    ]);
  }, 20_000);

  it('finds in its session what was published while it was away', async () => {
    const session = ['-c', '-i', 'mosquitto-session', '-q', '1', '-t', 'mosquitto/queue/#'];
    const first = subscribe(session, 1);
    await first.subscribed;
    await publish(['-q', '1', '-t', 'mosquitto/queue/a', '-m', 'while here']);
    expect(await first.done).toEqual(['mosquitto/queue/a 1 0 while here']);
    for (const text of ['one', 'two', 'three']) await publish(['-q', '1', '-t', 'mosquitto/queue/b', '-m', text]);
    expect(await subscribe(session, 3).done).toEqual(
      ['one', 'two', 'three'].map((text) => `mosquitto/queue/b 1 0 ${text}`),
    );
  }, 30_000);

  it('sees the will of a client that is killed', async () => {
    const watcher = subscribe(['-q', '1', '-t', 'mosquitto/will'], 1);
    await watcher.subscribed;
    const doomed = spawn('stdbuf', [
      '-oL',
      'mosquitto_sub',
      '-p',
      port,
      '-d',
      '-t',
      'x',
      '--will-topic',
      'mosquitto/will',
      '--will-payload',
      'killed',
      '--will-qos',
      '1',
    ]);
    await new Promise<void>((resolve) => {
      createInterface({ input: doomed.stdout }).on('line', (line) => {
        if (/^Subscribed/.test(line)) resolve();
      });
    });
    doomed.kill('SIGKILL');
    expect(await watcher.done).toEqual(['mosquitto/will 1 0 killed']);
  }, 20_000);
});
