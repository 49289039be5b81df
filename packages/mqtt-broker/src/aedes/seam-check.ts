// Proves at start that the aedes in this process behaves as the control plane needs it.
//
// The version is pinned in package.json, but a bundler, an override or a deduplicated install can bring
// another one. A broker on a control plane that admits differently must not open its listeners.

import type { Logger } from '@robustmq/stdx/logger';
import type { ConnectPacket } from '../codec/packets.js';
import { ReasonCode } from '../codec/reason-codes.js';
import type { ConnectingClient } from '../connection/connection-deps.js';
import { MqttError } from '../errors.js';
import { AedesControlPlane } from './control-plane.js';

export const PROVED_AEDES_VERSION = '1.2.0';

/** What a client must go through, in this order. */
const EXPECTED = ['preConnect', 'authenticate', 'attach', 'client', 'admitted', 'clientReady', 'clientDisconnect'];

/** The series takes a handful of turns; one that has not ended after so many never will. */
const TURNS_MAX = 100;

/** Errors: CONTROL_PLANE_UNFIT, with what was expected and what happened. */
export async function checkAedesSeam(deps: {
  readonly logger: Logger;
  readonly nextTurn: () => Promise<void>;
}): Promise<void> {
  const steps: string[] = [];
  const plane = await AedesControlPlane.open({
    logger: deps.logger,
    authenticators: [
      {
        authenticate: () => {
          steps.push('authenticate');
          return { kind: 'accepted', username: undefined };
        },
      },
    ],
    anonymous: 'nowhere',
    path: { publish: async () => {}, subscribe: () => () => {} },
    hooks: {
      preConnect: (_client, _packet, done) => {
        steps.push('preConnect');
        done(null, true);
      },
    },
  });
  try {
    assertVersion(plane);
    for (const event of ['client', 'clientReady', 'clientDisconnect'] as const)
      plane.aedes.on(event, () => steps.push(event));
    const admission = plane.admit(probe(steps), PROBE_CONNECT);
    await turnsUntil(() => steps.includes('clientReady'), deps.nextTurn);
    admission.release();
    await turnsUntil(() => steps.includes('clientDisconnect'), deps.nextTurn);
  } finally {
    await plane.close();
  }
  if (steps.join() !== EXPECTED.join()) {
    throw unfit(`a client should go through ${EXPECTED.join(', ')}, and went through ${steps.join(', ')}`);
  }
}

function assertVersion({ aedes }: AedesControlPlane): void {
  const version = 'version' in aedes ? String(aedes.version) : 'unknown';
  if (version !== PROVED_AEDES_VERSION) throw unfit(`it is version ${version}, proved is ${PROVED_AEDES_VERSION}`);
}

const PROBE_CONNECT: ConnectPacket = {
  protocolVersion: 5,
  clientId: 'seam-check',
  cleanStart: true,
  keepAlive: 1,
  will: undefined,
  username: 'probe',
  password: Buffer.from('probe'),
  properties: undefined,
  bridge: false,
};

function probe(steps: string[]): ConnectingClient {
  return {
    peer: { address: '127.0.0.1', port: 0, scope: 'loopback' },
    attach: async () => {
      steps.push('attach');
    },
    onAdmitted: () => steps.push('admitted'),
    onRefused: (_reason, why) => steps.push(`refused (${why})`),
    onExpelled: () => steps.push('expelled'),
  };
}

async function turnsUntil(reached: () => boolean, nextTurn: () => Promise<void>): Promise<void> {
  for (let turn = 0; turn < TURNS_MAX && !reached(); turn++) await nextTurn();
}

function unfit(why: string): MqttError {
  return new MqttError(
    'CONTROL_PLANE_UNFIT',
    `the aedes of this process cannot be the control plane: ${why}; install aedes@${PROVED_AEDES_VERSION} exactly`,
    { reasonCode: ReasonCode.serverUnavailable },
  );
}
