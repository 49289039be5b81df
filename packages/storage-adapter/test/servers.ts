// What the tests of external engines need to start real servers.

import { spawnSync } from 'node:child_process';
import net from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';

export function isInstalled(program: string): boolean {
  return spawnSync(program, ['--version'], { stdio: 'ignore' }).status === 0;
}

/** Says in the output why tests are skipped. */
export function skipAloud(what: string, reason: string): void {
  process.stderr.write(`skipped: ${what}: ${reason}\n`);
}

/** A port nobody listens on now. */
export async function freePort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as net.AddressInfo; // it listens on TCP
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Until a server that was just started answers. */
export async function whenItListens(port: number, answers: () => boolean | Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 300; attempt++) {
    try {
      if (await answers()) return;
    } catch {
      // Not yet.
    }
    await pause(50);
  }
  throw new Error(`no server answers on port ${port}`);
}
