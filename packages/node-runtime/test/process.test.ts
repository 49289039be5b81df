import { afterEach, describe, expect, it } from '@jest/globals';
import { assert } from '@robustmq/stdx/assert';
import { ManualClock } from '@robustmq/stdx/clock';
import { RuntimeError } from '../src/errors.js';
import { EXIT_CODES } from '../src/exit-codes.js';
import { checkFileDescriptors } from '../src/file-descriptors.js';
import { createLogger } from '../src/logger.js';
import type { ProcessHost } from '../src/process-host.js';
import { type Main, runMain } from '../src/run-main.js';
import type { StopSignal } from '../src/shutdown.js';
import { StartSteps } from '../src/start-steps.js';

/** A process that is watched and does not end. */
class WatchedHost implements ProcessHost {
  readonly variables: NodeJS.ProcessEnv;
  readonly errors: string[] = [];
  readonly exits: number[] = [];
  readonly #listeners = new Map<StopSignal, Set<() => void>>();
  #fault: ((fault: unknown) => void) | undefined;
  alive = 0;

  constructor(variables: NodeJS.ProcessEnv = {}) {
    this.variables = variables;
  }

  on(signal: StopSignal, listener: () => void) {
    const listeners = this.#listeners.get(signal) ?? new Set();
    this.#listeners.set(signal, listeners.add(listener));
  }

  off(signal: StopSignal, listener: () => void) {
    this.#listeners.get(signal)?.delete(listener);
  }

  onFault(listener: (fault: unknown) => void) {
    this.#fault = listener;
  }

  stayAlive() {
    this.alive++;
    return () => {
      this.alive--;
    };
  }

  writeError(text: string) {
    this.errors.push(text);
  }

  exit(code: number) {
    this.exits.push(code);
  }

  signal(signal: StopSignal) {
    for (const listener of this.#listeners.get(signal) ?? []) listener();
  }

  fault(fault: unknown) {
    assert(this.#fault, 'faults are listened to');
    this.#fault(fault);
  }
}

function run(main: Main, variables?: NodeJS.ProcessEnv) {
  const host = new WatchedHost(variables);
  const clock = new ManualClock();
  const ended = runMain(main, { program: 'robust-server', host, clock });
  return { host, clock, ended };
}

const portInUse = () => new RuntimeError('PORT_IN_USE', 'cannot listen on 127.0.0.1:1: the port is in use. Stop it');

describe('runMain', () => {
  it('ends with 0, or with the code that main hands back, and prints nothing', async () => {
    const quiet = run(async () => {});
    await quiet.ended;
    expect([quiet.host.exits, quiet.host.errors, quiet.host.alive]).toEqual([[0], [], 0]);
    const other = run(async () => EXIT_CODES.unavailable);
    await other.ended;
    expect(other.host.exits).toEqual([69]);
  });

  it.each([
    ['a wrong command line', new RuntimeError('USAGE', 'wrong flag'), 64, ['robust-server: wrong flag']],
    ['a port in use', portInUse(), 69, ['robust-server: cannot listen on 127.0.0.1:1: the port is in use. Stop it']],
    [
      'a failed step',
      new RuntimeError('START_FAILED', 'step 1 (gRPC) failed: the port is in use', { cause: portInUse() }),
      69,
      ['robust-server: step 1 (gRPC) failed: the port is in use'],
    ],
    [
      'a wrong configuration',
      new RuntimeError('CONFIG_INVALID', '2 settings are wrong:\n  a\n  b'),
      78,
      ['robust-server: 2 settings are wrong:', '  a', '  b'],
    ],
    [
      'a fault of the program',
      new TypeError('x is not a function'),
      70,
      [
        'robust-server: x is not a function',
        '  This is a fault of the program. Please report it with the output of a run with ROBUSTMQ_DEBUG=1.',
      ],
    ],
    [
      'an error of the system',
      Object.assign(new TypeError('read EIO'), { syscall: 'read' }),
      1,
      ['robust-server: read EIO'],
    ],
  ])('%s ends it', async (_what, error, code, lines) => {
    const { host, ended } = run(() => Promise.reject(error));
    await ended;
    expect(host.exits).toEqual([code]);
    expect(host.errors).toEqual([`${lines.join('\n')}\n`]);
  });

  it('a failure to close on top of another failure does not hide it', async () => {
    const suppressed = Object.assign(new TypeError('suppressed'), {
      suppressed: portInUse(),
      error: new RuntimeError('CLOSE_FAILED', 'not everything closed cleanly'),
    });
    const { host, ended } = run(() => Promise.reject(suppressed));
    await ended;
    expect(host.exits).toEqual([69]);
    expect(host.errors[0]).toBe(
      'robust-server: cannot listen on 127.0.0.1:1: the port is in use. Stop it\n  and then: not everything closed cleanly\n',
    );
  });

  it('explains a missing native part, wherever it comes up', async () => {
    const dlopen = Object.assign(new TypeError('invalid ELF header'), { code: 'ERR_DLOPEN_FAILED' });
    const { host, ended } = run(() =>
      Promise.reject(new RuntimeError('START_FAILED', 'step 2 failed', { cause: dlopen })),
    );
    await ended;
    expect(host.exits).toEqual([69]);
    expect(host.errors[0]).toMatch(
      /cannot be loaded on .*: invalid ELF header\. Use the package made for this platform/,
    );
  });

  it('prints stacks only when ROBUSTMQ_DEBUG asks for them', async () => {
    const plain = run(() => Promise.reject(portInUse()));
    const debug = run(() => Promise.reject(portInUse()), { ROBUSTMQ_DEBUG: '1' });
    await Promise.all([plain.ended, debug.ended]);
    expect(plain.host.errors[0]).not.toContain('process.test');
    expect(debug.host.errors[0]).toContain('process.test');
  });

  it.each(['SIGTERM', 'SIGINT'] as const)('stops in order on %s and ends with 0', async (signal) => {
    const closed: string[] = [];
    const { host, ended } = run(async (context) => {
      const reason = await context.shutdownRequested();
      closed.push(JSON.stringify(reason));
    });
    host.signal(signal);
    await ended;
    expect(closed).toEqual([`{"kind":"signal","signal":"${signal}"}`]);
    expect(host.exits).toEqual([0]);
  });

  it('ends at once on a second signal, but not on the echo of the first', async () => {
    const { host, clock, ended } = run((context) =>
      context.shutdownRequested().then(() => new Promise<undefined>(() => {})),
    );
    host.signal('SIGINT');
    host.signal('SIGINT'); // the launcher passes on what the terminal sent already
    clock.advance(300);
    host.signal('SIGINT');
    expect(host.exits).toEqual([]);
    clock.advance(200);
    host.signal('SIGINT');
    expect(host.exits).toEqual([130]);
    host.signal('SIGTERM');
    expect(host.exits).toEqual([130, 143]);
    void ended;
  });

  it('cuts a stop that hangs, and says what hung', async () => {
    const { host, clock } = run(async (context) => {
      context.adopt({ shutdownDeadlineMs: 5000, activity: () => 'closing the journal' });
      await context.shutdownRequested();
      await new Promise(() => {});
    });
    host.signal('SIGTERM');
    await clock.advanceAndSettle(4999);
    expect(host.exits).toEqual([]);
    await clock.advanceAndSettle(1);
    expect(host.exits).toEqual([1]);
    expect(host.errors[0]).toMatch(/^robust-server: not stopped within 5000 ms \(still closing the journal\): ended/);
  });

  it('stops in order when a part fails for good, and ends with the code of the failure', async () => {
    const order: string[] = [];
    const { host, ended } = run(async (context) => {
      context.fail(new RuntimeError('NODE_ID_TAKEN', 'node 1 is registered by another process'));
      context.fail(new TypeError('a consequence'));
      order.push((await context.shutdownRequested()).kind);
    });
    await ended;
    expect(order).toEqual(['failure']);
    expect([host.exits, host.errors]).toEqual([[69], ['robust-server: node 1 is registered by another process\n']]);
  });

  it('ends with 70 on a failure that nobody handled, after the log is written', async () => {
    const written: string[] = [];
    const destination = {
      isTerminal: false,
      write: (line: string) => written.push(line),
      flush: () => written.push('flushed'),
    };
    const log = createLogger({ log: { level: 'info', format: 'json' }, destination });
    const { host } = run(async (context) => {
      context.adopt({ log });
      await context.shutdownRequested();
    });
    await Promise.resolve();
    host.fault(new RangeError('surprise'));
    expect(host.exits).toEqual([70]);
    expect(host.errors[0]).toContain('ended by a failure that nobody handled: surprise');
    expect(JSON.parse(written[0] ?? '')).toMatchObject({
      level: 'error',
      err: { type: 'RangeError', message: 'surprise' },
    });
    expect(written[1]).toBe('flushed');
  });

  it.each(['SIGINT', 'SIGTERM'] as const)('a start cut short by %s ends with its code', async (signal) => {
    const { host, clock, ended } = run(async (context) => {
      const steps = new StartSteps({ deadlineMs: 1000, clock: new ManualClock(), signal: context.stopSignal });
      await steps.step({ number: 2, name: 'meta' }, {}, () => new Promise(() => {}));
    });
    await clock.advanceAndSettle(10);
    host.signal(signal);
    await ended;
    expect(host.exits).toEqual([signal === 'SIGINT' ? 130 : 143]);
    expect(host.errors[0]).toContain('step 2 (meta) was cut short: a stop was asked for');
  });
});

describe('StartSteps', () => {
  const order: string[] = [];
  afterEach(() => {
    order.length = 0;
  });
  const part = (name: string, close: () => Promise<void> = async () => {}) => ({
    name,
    async [Symbol.asyncDispose]() {
      order.push(`-${name}`);
      await close();
    },
  });

  it('closes what it opened backwards, once, whatever fails on the way', async () => {
    const steps = new StartSteps({ deadlineMs: 1000, clock: new ManualClock() });
    await steps.step({ number: 1, name: 'one' }, {}, () => part('one'));
    await steps.step({ number: 2, name: 'two' }, {}, async () =>
      part('two', () => Promise.reject(new TypeError('stuck'))),
    );
    await steps.step({ number: 3, name: 'three' }, {}, () => part('three'));
    await steps.step({ number: 4, name: 'nothing to close' }, {}, () => 4);
    const broken = steps.step({ number: 5, name: 'five' }, { hint: 'Try again' }, () => {
      throw portInUse();
    });
    await expect(broken).rejects.toMatchObject({
      code: 'START_FAILED',
      message: 'step 5 (five) failed: cannot listen on 127.0.0.1:1: the port is in use. Stop it. Try again',
      cause: { code: 'PORT_IN_USE' },
    });
    await expect(steps[Symbol.asyncDispose]()).rejects.toMatchObject({
      code: 'CLOSE_FAILED',
      message: expect.stringContaining('two: stuck'),
    });
    await steps[Symbol.asyncDispose]();
    expect(order).toEqual(['-three', '-two', '-one']);
  });

  it('gives a step up at its deadline with what it waited for, and closes what comes late', async () => {
    const clock = new ManualClock();
    const steps = new StartSteps({ deadlineMs: 60_000, clock });
    let finish: (value: unknown) => void = () => {};
    let aborted: unknown;
    const step = steps.step(
      { number: 2, name: 'meta' },
      { deadlineMs: 5000, hint: 'Start the other nodes' },
      (signal, note) => {
        note('no answer from 10.0.0.2:1228');
        signal.addEventListener('abort', () => {
          aborted = signal.reason;
        });
        return new Promise((resolve) => {
          finish = resolve;
        });
      },
    );
    const outcome = step.catch((error: unknown) => error);
    await clock.advanceAndSettle(4999);
    expect(steps.activity).toBe('starting meta');
    await clock.advanceAndSettle(1);
    expect(await outcome).toMatchObject({
      code: 'START_DEADLINE',
      message: 'step 2 (meta) was not done within 5000 ms (no answer from 10.0.0.2:1228). Start the other nodes',
    });
    expect(aborted).toBe(await outcome);
    finish(part('late'));
    await clock.advanceAndSettle(0);
    expect(order).toEqual(['-late']);
    expect(steps.activity).toBeUndefined();
    expect(clock.pendingTimers).toBe(0);
  });

  it('logs each step with its duration, and what is skipped', async () => {
    const clock = new ManualClock();
    const lines: string[] = [];
    const destination = { isTerminal: false, write: (line: string) => lines.push(line), flush: () => {} };
    const log = createLogger({ log: { level: 'info', format: 'json' }, destination });
    const steps = new StartSteps({ deadlineMs: 1000, clock, log });
    await steps.step({ number: 1, name: 'gRPC' }, {}, () => clock.advance(12));
    steps.skip({ number: 4, name: 'journal' }, 'storage.type is memory');
    expect(steps.elapsedMs).toBe(12);
    expect(lines.map((line) => JSON.parse(line))).toEqual([
      expect.objectContaining({ step: 1, tookMs: 12, msg: 'step 1 (gRPC) done in 12 ms' }),
      expect.objectContaining({ step: 4, msg: 'step 4 (journal) skipped: storage.type is memory' }),
    ]);
  });
});

describe('createLogger', () => {
  const NASTY = 'a\nb\r\u001b[31mred\u0007\u009b2J\u2028\u007f"quoted" \\n end';

  /** The characters of a line that a terminal would obey. */
  const rawControls = (line = '') => [...line].filter((character) => /[\p{Cc}\u2028\u2029]/u.test(character));

  function lines(options: {
    isTerminal: boolean;
    format?: 'auto' | 'pretty' | 'json';
    noColor?: boolean;
    level?: 'info' | 'silent';
  }) {
    const written: string[] = [];
    const destination = {
      isTerminal: options.isTerminal,
      write: (line: string) => written.push(line),
      flush: () => {},
    };
    const log = createLogger({
      log: { level: options.level ?? 'info', format: options.format ?? 'auto' },
      noColor: options.noColor ?? false,
      destination,
      fields: { node: 1 },
    });
    return { log, written };
  }

  it('writes one JSON object a line to what is no terminal, with nothing raw in it', () => {
    const { log, written } = lines({ isTerminal: false });
    log.child({ client: NASTY }).warn({ topic: NASTY }, NASTY);
    log.debug('not at this level');
    expect(written).toHaveLength(1);
    expect(rawControls(written[0])).toEqual(['\n']);
    expect(JSON.parse(written[0] ?? '')).toMatchObject({
      level: 'warn',
      node: 1,
      client: NASTY,
      topic: NASTY,
      msg: NASTY,
    });
  });

  it('writes one line a message to a terminal, and no client moves its cursor', () => {
    const { log, written } = lines({ isTerminal: true, noColor: true });
    log.child({ client: NASTY }).warn({ topic: NASTY, list: [NASTY] }, NASTY);
    log.error({ err: new TypeError(NASTY) }, 'failed');
    expect(written).toHaveLength(2);
    expect(rawControls(written[0])).toEqual(['\n']);
    // An error takes more lines, ours, each indented: none can pass for a line of its own.
    const [first, ...more] = (written[1] ?? '').trimEnd().split('\n');
    expect(first).toContain('ERROR');
    expect(more.every((line) => line.startsWith('    ') && rawControls(line).length === 0)).toBe(true);
    expect(written[0]).toContain('WARN');
    expect(written[0]).toContain('a\\nb\\r\\u001b[31mred\\u0007\\u009b2J\\u2028\\u007f"quoted"');
    expect(written[1]).toContain('TypeError');
  });

  it('colours only a terminal that wants colours', () => {
    const coloured = lines({ isTerminal: true });
    const plain = lines({ isTerminal: true, noColor: true });
    const piped = lines({ isTerminal: false, format: 'pretty' });
    const json = lines({ isTerminal: true, format: 'json' });
    const silent = lines({ isTerminal: true, level: 'silent' });
    for (const { log } of [coloured, plain, piped, json, silent]) log.info('hello');
    expect(coloured.written[0]).toContain('\u001b[');
    expect(plain.written[0]).not.toContain('\u001b[');
    expect(piped.written[0]).not.toContain('\u001b[');
    expect(piped.written[0]).toContain('INFO');
    expect(JSON.parse(json.written[0] ?? '')).toMatchObject({ msg: 'hello' });
    expect(silent.written).toEqual([]);
  });
});

describe('checkFileDescriptors', () => {
  it('takes what fits, lowers a default, and refuses what was asked for by name', () => {
    expect(checkFileDescriptors({ maxConnections: 1000, isExplicit: true, limit: 4096 })).toEqual({
      kind: 'enough',
      maxConnections: 1000,
    });
    expect(checkFileDescriptors({ maxConnections: 100_000, isExplicit: false, limit: 4096 })).toMatchObject({
      kind: 'lowered',
      maxConnections: 3328,
      warning: expect.stringContaining('ulimit -n 100768'),
    });
    expect(() => checkFileDescriptors({ maxConnections: 100_000, isExplicit: true, limit: 4096 })).toThrow(
      /^too few file descriptors: the limit is 4096 and 100000 connections need 100768/,
    );
    expect(() => checkFileDescriptors({ maxConnections: 100_000, isExplicit: false, limit: 256 })).toThrow(
      /too few file descriptors/,
    );
  });

  it('asks the system', () => {
    expect(checkFileDescriptors({ maxConnections: 1, isExplicit: false }).maxConnections).toBe(1);
  });
});
