import { MetaError } from '../errors.js';
import type { PeerTransport } from './peer-transport.js';

/** The transport of a node that is alone: there is nobody to send to. */
export const noPeers: PeerTransport = {
  start: () => {},
  setPeers: () => {},
  send: () => {},
  sendSnapshot: (group) => Promise.reject(new MetaError('UNAVAILABLE', `Group ${group} has no other members.`)),
  close: async () => {},
};
