import { errorMessage } from '@robustmq/stdx/coded-error';
import { type Address, formatAddress } from './config/address.js';
import { RuntimeError } from './errors.js';

export interface ListenFailure {
  /** What cannot listen: `the HTTP server`. */
  readonly what: string;
  readonly address: Address;
  /** The key of the setting to change. */
  readonly setting: string;
}

/** A failure to listen, in words that name the address and the setting. */
export function listenError(thrown: unknown, { what, address, setting }: ListenFailure): RuntimeError {
  const at = formatAddress(address);
  const text = errorMessage(thrown);
  const because = { cause: thrown };
  if (text.includes('EADDRINUSE')) {
    const todo = `Stop the other program (ss -ltnp shows it) or set ${setting} to another address`;
    return new RuntimeError('PORT_IN_USE', `${what} cannot listen on ${at}: the port is in use. ${todo}`, because);
  }
  if (text.includes('EACCES')) {
    const todo = `Set ${setting} to a port above 1023, or allow this user to listen there`;
    return new RuntimeError('ADDRESS_UNUSABLE', `${what} may not listen on ${at}: permission denied. ${todo}`, because);
  }
  const todo = `Set ${setting} to an address of this machine`;
  return new RuntimeError('ADDRESS_UNUSABLE', `${what} cannot listen on ${at}: ${text}. ${todo}`, because);
}
