// Looking at and stopping the server that a configuration describes, from another process.

import { get } from 'node:http';
import { type Config, EXIT_CODES, type ExitCode, formatAddress, RuntimeError } from '@robustmq/node-runtime';
import { systemClock } from '@robustmq/stdx/clock';
import { errorMessage } from '@robustmq/stdx/coded-error';
import { directoryHolder } from '@robustmq/wal';

type Print = (text: string) => unknown;

/** An answer later than this means that the event loop over there hangs, in milliseconds. */
const ANSWER_MS_MAX = 3000;

/** How often to look whether a process is gone, in milliseconds. */
const LOOK_EVERY_MS = 50;

/** Prints what the server says of itself; the exit code is 0 when it is ready. */
export async function showStatus(config: Config, print: Print): Promise<ExitCode> {
  const { bind } = config.http;
  if (bind === 'off')
    throw new RuntimeError('USAGE', 'http.bind is "off": a server without HTTP cannot be asked for its status');
  const at = `http://${formatAddress(reachable(bind))}`;
  const [status, health] = await Promise.all([fetchJson(`${at}/status`), fetchJson(`${at}/health/ready`)]).catch(
    (error: unknown) => {
      throw new RuntimeError(
        'NO_ANSWER',
        `nothing answers at ${at}: ${errorMessage(error)}. Is the server started, and is this its configuration?`,
        { cause: error },
      );
    },
  );
  print(JSON.stringify({ ...status.body, health: health.body }, null, 2));
  return health.code === 200 ? EXIT_CODES.ok : EXIT_CODES.unavailable;
}

/** Asks the holder of the data directory to stop, and waits until it is gone. */
export async function stopNode(config: Config, print: Print): Promise<ExitCode> {
  const holder = await directoryHolder(config.data_path);
  if (holder === undefined) {
    print(`nothing runs on ${config.data_path}`);
    return EXIT_CODES.ok;
  }
  print(`stopping process ${holder} …`);
  process.kill(holder, 'SIGTERM');
  const deadlineMs = systemClock.now() + config.shutdown.deadline_ms + 1000;
  while (systemClock.now() < deadlineMs) {
    if ((await directoryHolder(config.data_path)) !== holder) {
      print('stopped');
      return EXIT_CODES.ok;
    }
    await new Promise<void>((resolve) => systemClock.setTimer(LOOK_EVERY_MS, resolve));
  }
  throw new RuntimeError(
    'STOP_DEADLINE',
    `process ${holder} is still there after ${config.shutdown.deadline_ms} ms: see its log`,
  );
}

/** Every interface, for a server, is loopback for who asks on the same machine. */
export function reachable(address: { readonly host: string; readonly port: number }) {
  if (address.host === '0.0.0.0') return { ...address, host: '127.0.0.1' };
  return address.host === '::' ? { ...address, host: '::1' } : address;
}

function fetchJson(url: string): Promise<{ readonly code: number; readonly body: object }> {
  return new Promise((resolve, reject) => {
    const request = get(url, { timeout: ANSWER_MS_MAX }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => {
        try {
          resolve({ code: response.statusCode ?? 0, body: JSON.parse(text) });
        } catch (error) {
          reject(error);
        }
      });
    });
    request.on('timeout', () => request.destroy(new RuntimeError('NO_ANSWER', `no answer within ${ANSWER_MS_MAX} ms`)));
    request.on('error', reject);
  });
}
