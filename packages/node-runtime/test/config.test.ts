import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { formatAddress, isLoopback, parseAddress } from '../src/config/address.js';
import { readEnvironment } from '../src/config/environment.js';
import { type ConfigSources, loadConfig } from '../src/config/load-config.js';
import { editDistance, nearestKey } from '../src/config/nearest-key.js';
import { printConfig } from '../src/config/print-config.js';
import { configurationReference } from '../src/config/reference.js';
import { RUNTIME_ERRORS, RuntimeError } from '../src/errors.js';
import { EXIT_CODES } from '../src/exit-codes.js';

const directory = mkdtempSync(join(tmpdir(), 'robustmq-config-'));
afterAll(() => rmSync(directory, { recursive: true }));

let files = 0;
function toml(text: string): string {
  const file = join(directory, `${files++}.toml`);
  writeFileSync(file, text);
  return file;
}

/** Loads with an environment of its own, so that the one the tests run in does not matter. */
function load(sources: Omit<ConfigSources, 'environment'> & { readonly variables?: Record<string, string> } = {}) {
  const { variables = {}, ...rest } = sources;
  return loadConfig({ hostName: 'this-host', ...rest, environment: readEnvironment(variables) });
}

function refusal(sources: Parameters<typeof load>[0]): RuntimeError {
  try {
    load(sources);
  } catch (error) {
    if (error instanceof RuntimeError) return error;
    throw error;
  }
  throw new Error('the configuration was accepted');
}

const SECRET = 'correct horse battery staple';

describe('defaults', () => {
  it('make a node that is alone, keeps a journal and listens where clients look', () => {
    const { config } = load();
    expect(config).toMatchObject({
      cluster_name: 'robustmq',
      node_id: 1,
      advertise_host: '127.0.0.1',
      roles: ['meta', 'broker', 'journal'],
      data_path: join(process.cwd(), 'data'),
      grpc: { bind: { host: '127.0.0.1', port: 1228 } },
      http: { bind: { host: '127.0.0.1', port: 8080 } },
      storage: { type: 'journal' },
      mqtt: {
        listeners: {
          tcp: { bind: { host: '0.0.0.0', port: 1883 } },
          ws: { bind: { host: '0.0.0.0', port: 8083 }, path: '/mqtt' },
        },
        auth: { anonymous: 'loopback' },
        limits: { max_packet_bytes: 1_048_576 },
      },
    });
    expect(config.meta.peers.size).toBe(0);
  });
});

describe('sources', () => {
  it('count in this order: file, environment, flag, program', () => {
    const file = toml(
      'node_id = 2\ncluster_name = "file"\n[log]\nlevel = "warn"\nformat = "json"\n[meta]\nelection_ms = 700\n',
    );
    const variables = {
      ROBUSTMQ_CLUSTER_NAME: 'environment',
      ROBUSTMQ_LOG__LEVEL: 'debug',
      ROBUSTMQ_META__ELECTION_MS: '800',
    };
    const set = ['log.level=error', 'meta.election_ms=900', 'meta.election_ms=1000'];
    const { config, origins } = load({ file, variables, set, program: { 'log.level': 'trace' } });
    expect(config).toMatchObject({
      node_id: 2,
      cluster_name: 'environment',
      log: { level: 'trace', format: 'json' },
      meta: { election_ms: 1000, heartbeat_ms: 100 },
    });
    expect(Object.fromEntries(origins)).toEqual({
      node_id: `${file}:1`,
      cluster_name: 'environment ROBUSTMQ_CLUSTER_NAME',
      'log.level': 'this program',
      'log.format': `${file}:5`,
      'meta.election_ms': 'flag --set meta.election_ms',
    });
  });

  it('--data-path is a flag for data_path and made absolute', () => {
    expect(load({ dataPath: 'here', variables: { ROBUSTMQ_DATA_PATH: '/there' } }).config.data_path).toBe(
      join(process.cwd(), 'here'),
    );
  });

  it('give peers as a table, key by key, or as one inline table', () => {
    const file = toml('[meta]\npeers = { "1" = "a:1", "2" = "b:2" }\n');
    const peersOf = (sources: Parameters<typeof load>[0]) =>
      Object.fromEntries([...load(sources).config.meta.peers].map(([id, at]) => [id, formatAddress(at)]));
    expect(peersOf({ file })).toEqual({ 1: 'a:1', 2: 'b:2' });
    expect(peersOf({ file, set: ['meta.peers.2=c:3'] })).toEqual({ 1: 'a:1', 2: 'c:3' });
    expect(peersOf({ file, variables: { ROBUSTMQ_META__PEERS: '{ 1 = "z:9" }' } })).toEqual({ 1: 'z:9' });
    expect(peersOf({ variables: { ROBUSTMQ_META__PEERS__1: '[::1]:5' } })).toEqual({ 1: '[::1]:5' });
  });

  it('take engine for journal, lists with commas or brackets, and off for a listener', () => {
    const set = ['roles=meta, engine,journal', 'mqtt.listeners.ws.bind=off', 'http.bind=off'];
    const { config } = load({ set });
    expect(config.roles).toEqual(['meta', 'journal']);
    expect(config.mqtt.listeners.ws.bind).toBe('off');
    expect(config.http.bind).toBe('off');
    expect(load({ set: ['roles=["meta","broker"]'] }).config.roles).toEqual(['meta', 'broker']);
  });

  it('pass over the variables of the launcher and of others', () => {
    const variables = {
      ROBUSTMQ_NODE: '/n',
      ROBUSTMQ_NODE_OPTIONS: '--x',
      ROBUSTMQ_DEBUG: '1',
      PATH: '/bin',
      NO_COLOR: '1',
    };
    expect(readEnvironment(variables)).toEqual({ settings: {}, noColor: true, debug: true });
    expect(readEnvironment({ ROBUSTMQ_DEBUG: '0' })).toEqual({ settings: {}, noColor: false, debug: false });
    expect(() => load({ variables })).not.toThrow();
  });

  it('work out the host others reach this node by', () => {
    const set = ['grpc.bind=0.0.0.0:1228', `grpc.secret=${SECRET}`];
    expect(load({ set }).config.advertise_host).toBe('this-host');
    expect(load({ set: [...set, 'meta.peers.1=10.0.0.1:1228'] }).config.advertise_host).toBe('10.0.0.1');
    expect(load({ set: [...set, 'advertise_host=node-1'] }).config.advertise_host).toBe('node-1');
    expect(load({ set: ['grpc.bind=10.0.0.7:1', `grpc.secret=${SECRET}`] }).config.advertise_host).toBe('10.0.0.7');
  });
});

describe('mistakes', () => {
  it.each([
    [{ set: ['grpc.bnd=1'] }, 'flag --set grpc.bnd: unknown setting grpc.bnd; did you mean grpc.bind?'],
    [{ set: ['mqtt.limits.max_conections=5'] }, 'did you mean mqtt.limits.max_connections?'],
    [{ set: ['nodeid=1'] }, 'did you mean node_id?'],
    [
      { variables: { ROBUSTMQ_STORAGE__TYP: 'level' } },
      'environment ROBUSTMQ_STORAGE__TYP: unknown setting storage.typ; did you mean storage.type?',
    ],
    [{ set: ['quantum.flux=1'] }, 'unknown setting quantum.flux; docs/reference/configuration.md lists all settings'],
    [{ set: ['__proto__.polluted=1'] }, 'unknown setting __proto__.polluted'],
    [{ set: ['mqtt=3'] }, 'mqtt is a table of settings and takes no value itself'],
    [{ set: ['node_id=one'] }, 'flag --set node_id: node_id must be a number, not "one"'],
    [{ set: ['node_id=0'] }, 'node_id must be at least 1, not 0'],
    [{ set: ['log.level=loud'] }, 'log.level must be one of trace, debug, info, warn, error, silent, not "loud"'],
    [{ set: ['grpc.bind=1228'] }, 'grpc.bind must be host:port, such as 127.0.0.1:1883'],
    [{ set: ['grpc.bind=a:70000'] }, 'grpc.bind must be host:port'],
    [{ set: ['mqtt.listeners.tcp.bind=on'] }, 'or "off", not "on"'],
    [{ set: ['mqtt.listeners.tls.bind=0.0.0.0:8883'] }, 'mqtt.listeners.tls.cert is required'],
    [
      { set: ['mqtt.listeners.wss.bind=0.0.0.0:8084', 'mqtt.listeners.wss.cert=a.pem,b.pem'] },
      'mqtt.listeners.wss.key must name one key for each file of cert (0 for 2)',
    ],
    [
      {
        set: ['bind=0.0.0.0:8883', 'cert=a', 'key=b', 'client_certificate=required'].map(
          (one) => `mqtt.listeners.tls.${one}`,
        ),
      },
      'mqtt.listeners.tls.ca is required because client_certificate is "required"',
    ],
    [{ set: ['mqtt.auth.jwt.key_file=k'] }, 'mqtt.auth.jwt.algorithms must name what tokens may be signed with'],
    [{ set: ['mqtt.auth.jwt.algorithms=RS256'] }, 'mqtt.auth.jwt.algorithms needs a jwks_url or a key_file'],
    [{ set: ['mqtt.auth.order=password,magic'] }, 'mqtt.auth.order'],
    [{ set: ['mqtt.listeners.tcp.proxy_protocol=balancer.example'] }, 'must be addresses or networks'],
    [{ set: ['meta.peers.one=a:1'] }, 'must be node ids: whole numbers from 1 up'],
    [{ set: ['cluster_name=a b'] }, 'cluster_name must be 1 to 64 letters'],
    [{ set: ['roles=king'] }, 'roles.0 must be one of'],
    [{ set: ['meta.election_ms=300'] }, 'meta.election_ms must be at least four times meta.heartbeat_ms (100)'],
    [{ set: ['meta.peers.2=a:1'] }, 'does not list this node (node_id 1), which has the role meta'],
    [{ program: { roles: ['broker'] } }, 'meta.peers is required without the role meta'],
  ] satisfies [Parameters<typeof load>[0], string][])('%j', (sources, text) => {
    const error = refusal(sources);
    expect(error.code).toBe('CONFIG_INVALID');
    expect(error.message).toContain(text);
    expect(error.message.split('\n')).toHaveLength(1);
  });

  it('fail closed: an address others can reach needs a secret', () => {
    expect(refusal({ set: ['grpc.bind=0.0.0.0:1228'] }).message).toMatch(
      /^grpc.secret is required because grpc.bind \(0.0.0.0\)/,
    );
    expect(refusal({ set: ['grpc.bind=localhost.evil:1228'] }).message).toContain('grpc.secret is required');
    expect(() => load({ set: ['grpc.bind=localhost:1228'] })).not.toThrow();
  });

  it('never show a secret', () => {
    const error = refusal({ set: ['grpc.secret=hunter2'] });
    expect(error.message).toContain('must have at least 16 characters');
    expect(error.message).not.toContain('hunter2');
    expect(printConfig(load({ set: [`grpc.secret=${SECRET}`] }))).not.toContain(SECRET);
  });

  it('never show the hash of a password, nor let in what is none', () => {
    const hash = 'scrypt$16384$8$1$c2FsdA$a2V5';
    const loaded = load({ file: toml(`[mqtt.auth]\nanonymous = "nowhere"\nusers = { "Ann.Lee" = "${hash}" }\n`) });
    expect(loaded.config.mqtt.auth.users).toEqual({ 'Ann.Lee': hash });
    expect(printConfig(loaded)).toContain('users = { "Ann.Lee" = "********" }');
    const error = refusal({ set: ['mqtt.auth.users.ann=plain-password'] });
    expect(error.message).toBe('flag --set mqtt.auth.users.ann: mqtt.auth.users.ann must be scrypt$N$r$p$salt$key');
    // Users may be added to the metadata later.
    expect(load({ set: ['mqtt.auth.anonymous=nowhere'] }).config.mqtt.auth.anonymous).toBe('nowhere');
  });

  it('are told all at once, with file and line', () => {
    const file = toml(
      '# a comment\nnode_id = "x"\n\n[mqtt.limits]\nmax_inflight = 0\n\n[ mqtt . "listeners" . tcp ]\nbind = "?"\n',
    );
    expect(refusal({ file }).message).toBe(
      [
        '3 settings are wrong:',
        `  ${file}:2: node_id must be a number, not "x"`,
        `  ${file}:8: mqtt.listeners.tcp.bind must be host:port, such as 0.0.0.0:1883, or "off", not "?"`,
        `  ${file}:5: mqtt.limits.max_inflight must be at least 1, not 0`,
      ].join('\n'),
    );
  });

  it('are found at their line beside strings over many lines and inline tables', () => {
    const file = toml('note = """\nnode_id = 5\n"""\n[meta]\npeers = { "x" = "a:1" }\n');
    expect(refusal({ file }).message).toContain(`${file}:1: unknown setting note`);
    const other = toml('cluster_name = "a"\n[meta]\npeers = { "x" = "a:1" }\n');
    expect(refusal({ file: other }).message).toContain(`${other}:3: meta.peers.x must be node ids`);
  });

  it('name line and column where a file is not TOML', () => {
    const file = toml('node_id = 1\n[grpc\nbind = 3\n');
    const error = refusal({ file });
    expect(error.code).toBe('CONFIG_UNREADABLE');
    expect(error.message).toMatch(new RegExp(`^${file}:2:\\d+: not TOML: `));
    expect(error.message.split('\n')).toHaveLength(1);
  });

  it('name a file that is not there, and a --set without a value', () => {
    expect(refusal({ file: join(directory, 'absent.toml') })).toMatchObject({
      code: 'CONFIG_UNREADABLE',
      message: expect.stringContaining('no such file'),
    });
    expect(refusal({ file: directory }).code).toBe('CONFIG_UNREADABLE');
    expect(refusal({ set: ['node_id'] }).code).toBe('USAGE');
    expect(refusal({ set: ['=1'] }).code).toBe('USAGE');
  });
});

describe('printing', () => {
  it('writes TOML that loads to the same settings, each with its origin', () => {
    const set = ['meta.peers.1=127.0.0.1:1228', 'meta.peers.2=b:2', 'mqtt.listeners.ws.bind=off', 'roles=meta,engine'];
    const first = load({ set, variables: { ROBUSTMQ_NODE_ID: '2' } });
    const printed = printConfig(first);
    expect(printed).toContain('node_id = 2  # environment ROBUSTMQ_NODE_ID\n');
    expect(printed).toContain(
      'peers = { "1" = "127.0.0.1:1228", "2" = "b:2" }  # flag --set meta.peers.1, flag --set meta.peers.2\n',
    );
    expect(printed).toContain('bind = "127.0.0.1:1228"  # default\n');
    expect(printed).toContain('# secret is not set\n');
    expect(load({ file: toml(printed) }).config).toEqual(first.config);
  });

  it('the committed reference is the one of this schema (node scripts/write-reference.mjs writes it)', () => {
    const committed = readFileSync(join(import.meta.dirname, '../../../docs/reference/configuration.md'), 'utf8');
    expect(committed).toBe(configurationReference());
  });
});

describe('the reference', () => {
  const reference = (name: string) => readFileSync(join(import.meta.dirname, '../../../docs/reference', name), 'utf8');

  it('names every error code with its exit code', () => {
    const rows = reference('errors.md').split('\n');
    for (const [code, { exitCode }] of Object.entries(RUNTIME_ERRORS)) {
      const row = rows.find((line) => line.startsWith(`| \`${code}\` |`));
      expect(row).toBeDefined();
      if (code !== 'START_FAILED') expect(row).toContain(`| ${exitCode}`);
    }
  });

  it('names every exit code', () => {
    for (const code of Object.values(EXIT_CODES)) expect(reference('exit-codes.md')).toContain(`\n| ${code} |`);
  });
});

describe('addresses', () => {
  it('read what they write', () => {
    const host = fc.oneof(fc.domain(), fc.ipV4(), fc.ipV6());
    fc.assert(
      fc.property(host, fc.integer({ min: 0, max: 65_535 }), (name, port) => {
        expect(parseAddress(formatAddress({ host: name, port }))).toEqual({ host: name, port });
      }),
    );
  });

  it.each(['', ':1', 'a', 'a:', 'a:b', 'a:65536', 'a:-1', 'http://a:1', '::1:80', '[a]:1 ', 'a b:1'])(
    'refuse %j',
    (text) => {
      expect(parseAddress(text)).toBeUndefined();
    },
  );

  it('tell what only this machine reaches', () => {
    expect(['127.0.0.1', '127.1.2.3', '::1', 'localhost'].every(isLoopback)).toBe(true);
    expect(['0.0.0.0', '::', '10.0.0.1', '127.evil.example', '128.0.0.1', 'localhost.example'].some(isLoopback)).toBe(
      false,
    );
  });
});

describe('guesses', () => {
  it('count edits, a swap of neighbours as one', () => {
    expect(editDistance('bind', 'bind')).toBe(0);
    expect(editDistance('bnid', 'bind')).toBe(1);
    expect(editDistance('', 'bind')).toBe(4);
    expect(editDistance('kitten', 'sitting')).toBe(3);
  });

  it('are the same distance both ways, and none is made for what is far from everything', () => {
    const word = fc.string({ maxLength: 12 });
    fc.assert(fc.property(word, word, (a, b) => expect(editDistance(a, b)).toBe(editDistance(b, a))));
    expect(nearestKey('zzzzzzzz', ['grpc.bind', 'node_id'])).toBeUndefined();
  });
});
