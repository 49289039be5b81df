// Logging: one JSON object a line, or lines for people when a person watches.
//
// Invariants:
//   L1. A line of the log is a line of ours: control characters in messages and fields, whoever sent them, are
//       written as visible escapes, so that no client can forge a line or drive the reader's terminal.
//   L2. The buffer in front of a slow reader is bounded; what is lost is counted and told.

import type { Logger } from '@robustmq/stdx/logger';
import pino, { type DestinationStream } from 'pino';
import pretty from 'pino-pretty';
import type { Config } from './config/load-config.js';
import { flattenError } from './error-report.js';

/** Bytes that wait for a reader that does not read. A burst of 30,000 lines; then lines are dropped (L2). */
const BUFFER_BYTES_MAX = 8 * 1024 * 1024;

export interface LoggerOptions {
  /** The `[log]` table of the configuration. */
  readonly log: Config['log'];
  /** Fields of every line, such as the node id. */
  readonly fields?: Readonly<Record<string, unknown>>;
  readonly noColor?: boolean;
  /** Where lines go; standard output when absent. */
  readonly destination?: LogDestination;
}

/** A place lines are written to. */
export interface LogDestination {
  readonly isTerminal: boolean;
  write(text: string): void;
  flush(): void;
}

export interface RuntimeLogger extends Logger {
  /** Writes what is buffered, now. Called before the process ends. */
  flush(): void;
}

export function createLogger(options: LoggerOptions): RuntimeLogger {
  const destination = options.destination ?? standardOutput();
  const { level, format } = options.log;
  const isPretty = format === 'pretty' || (format === 'auto' && destination.isTerminal);
  const stream = isPretty
    ? prettyStream(destination, options.noColor === true || !destination.isTerminal ? 'plain' : 'coloured')
    : { write: (line: string) => destination.write(escapeRaw(line)) };
  const logger = pino(
    {
      level,
      base: options.fields ?? null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: flattenError, error: (value) => (value instanceof Error ? flattenError(value) : value) },
    },
    stream,
  );
  return Object.assign(logger as Logger, { flush: () => destination.flush() }); // pino's methods fit the shape
}

/** Standard output without blocking the event loop, bounded (L2). */
function standardOutput(): LogDestination {
  const output = pino.destination({ dest: 1, sync: false, maxLength: BUFFER_BYTES_MAX });
  // A closed pipe is the reader's choice and ends nothing.
  output.on('error', () => {});
  let lost = 0;
  output.on('drop', () => {
    lost++;
  });
  /** L2 */
  const tellLost = () => {
    if (lost === 0) return;
    const msg = `${lost} log lines were lost: the reader is too slow`;
    lost = 0;
    output.write(`${JSON.stringify({ level: 'warn', msg })}\n`);
  };
  return {
    isTerminal: process.stdout.isTTY === true,
    write: (line) => {
      tellLost();
      output.write(line);
    },
    flush: () => {
      try {
        output.flushSync();
        tellLost();
        output.flushSync();
      } catch {
        // Not opened yet or a closed pipe: nobody is left to read the lines.
      }
    },
  };
}

function prettyStream(destination: LogDestination, colours: 'coloured' | 'plain'): DestinationStream {
  const format = pretty.prettyFactory({
    colorize: colours === 'coloured',
    // A person watches one node, and the texts of steps say their number and time themselves.
    ignore: 'pid,hostname,node,step,tookMs',
    translateTime: 'SYS:HH:MM:ss.l',
    singleLine: true,
    levelKey: 'level',
  });
  return {
    write: (line: string) => {
      const text = format(escapeForPeople(escapeRaw(line)));
      if (text) destination.write(text);
    },
  };
}

/** JSON leaves DEL, C1 controls and the line separators as they are; terminals and readers obey them (L1). */
function escapeRaw(line: string): string {
  return line.replace(
    /[\x7f-\x9f\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/**
 * Escapes that stand for control characters are doubled, so that the pretty printer, which decodes the JSON,
 * prints `\n` and not a new line (L1). Other escapes stay: quotes, backslashes, letters.
 */
function escapeForPeople(line: string): string {
  return line.replace(/\\(u[0-9a-fA-F]{4}|.)/g, (sequence, kind: string) => {
    const isControl = /^[bfnrt]$/.test(kind) || /^u00[01][0-9a-f]$|^u00[789][0-9a-f]$|^u202[89]$/i.test(kind);
    return isControl ? `\\${sequence}` : sequence;
  });
}
