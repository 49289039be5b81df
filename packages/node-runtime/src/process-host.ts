// The process as runMain sees it. A test passes its own and watches.

import { MessageChannel } from 'node:worker_threads';
import { exitProcess } from './fatal.js';
import type { SignalSource } from './shutdown.js';

export interface ProcessHost extends SignalSource {
  readonly variables: NodeJS.ProcessEnv | undefined;
  /** Exceptions and rejections that nobody handled. */
  onFault(listener: (fault: unknown) => void): void;
  /** Keeps the process running while promises are pending, until the returned function is called. */
  stayAlive(): () => void;
  /** To standard error, at once. */
  writeError(text: string): void;
  exit(code: number): void;
}

export function thisProcess(): ProcessHost {
  return {
    variables: undefined, // readEnvironment() reads those of the process
    on: (signal, listener) => process.on(signal, listener),
    off: (signal, listener) => process.off(signal, listener),
    onFault: (listener) => {
      process.on('uncaughtException', listener);
      process.on('unhandledRejection', listener);
    },
    stayAlive: openHandle,
    writeError: (text) => {
      process.stderr.write(text);
    },
    exit: exitProcess,
  };
}

/**
 * Timers of the Clock never keep the process alive, and a start that waits for a peer may have nothing else:
 * without a handle Node would end it in the middle, with code 0.
 */
function openHandle(): () => void {
  const { port1 } = new MessageChannel();
  port1.on('message', () => {}); // a port that is listened to is an open handle
  return () => port1.close();
}
