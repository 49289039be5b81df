// The header of the PROXY protocol (haproxy's proxy-protocol.txt), with which a load balancer says whom it speaks
// for, before the first byte of the client.
//
// Version 1 is a line of at most 107 bytes:
//   PROXY TCP4 192.0.2.7 198.51.100.1 56324 1883\r\n      or TCP6; or UNKNOWN and anything up to \r\n
//
// Version 2 is binary:
//   12 bytes  0d 0a 0d 0a 00 0d 0a 51 55 49 54 0a
//    1 byte   version 2 in the high half; command in the low: 0 LOCAL, 1 PROXY
//    1 byte   family in the high half: 1 IPv4, 2 IPv6; transport in the low: 1 stream
//    2 bytes  bytes that follow: addresses, ports, then type-length-values, which we skip
//
//   H1. No byte is guessed at: what is no header of a known form closes the connection.
//   H2. Nothing of the type-length-values is believed: a proxy may pass on what a client sent it.
//   H3. The length is bounded before the bytes are waited for.

import { isIPv4, isIPv6 } from 'node:net';

export interface Source {
  readonly address: string;
  readonly port: number;
}

export type ProxyHeader =
  | { readonly kind: 'incomplete' }
  | { readonly kind: 'malformed'; readonly why: string }
  /** `local`: the proxy speaks for itself, as in a health check. `unknown`: it does not know whom it speaks for. */
  | { readonly kind: 'header'; readonly length: number; readonly source: Source | 'local' | 'unknown' };

const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex');
const TEXT = Buffer.from('PROXY ');
const TEXT_BYTES_MAX = 107;
const FIXED_BYTES = 16;
/** Of what follows the fixed part: 36 are addresses of IPv6, the rest is more than balancers send. */
const REST_BYTES_MAX = 2048;

const INCOMPLETE: ProxyHeader = { kind: 'incomplete' };

/** Reads the header at the start of `bytes`. Pure: call it again with more when it is incomplete. */
export function parseProxyHeader(bytes: Buffer): ProxyHeader {
  if (beginsAs(bytes, SIGNATURE)) return bytes.length < FIXED_BYTES ? INCOMPLETE : parseBinary(bytes);
  if (beginsAs(bytes, TEXT)) return parseText(bytes);
  return malformed('it begins with neither PROXY nor the signature of version 2'); // H1
}

function beginsAs(bytes: Buffer, start: Buffer): boolean {
  const length = Math.min(bytes.length, start.length);
  return bytes.subarray(0, length).equals(start.subarray(0, length));
}

function parseText(bytes: Buffer): ProxyHeader {
  const end = bytes.subarray(0, TEXT_BYTES_MAX).indexOf('\r\n');
  if (end < 0) return bytes.length >= TEXT_BYTES_MAX ? malformed('its line is longer than 107 bytes') : INCOMPLETE; // H3
  const length = end + 2;
  const [, family, from = '', to = '', port = '', toPort = '', ...rest] = bytes.toString('latin1', 0, end).split(' ');
  if (family === 'UNKNOWN') return { kind: 'header', length, source: 'unknown' };
  const isAddress = family === 'TCP4' ? isIPv4 : family === 'TCP6' ? isIPv6 : undefined;
  if (!isAddress?.(from) || !isAddress(to)) return malformed('its addresses are not of the family it names');
  if (!isPort(port) || !isPort(toPort) || rest.length > 0) return malformed('its ports are not numbers up to 65535');
  return { kind: 'header', length, source: { address: from, port: Number(port) } };
}

const isPort = (text: string): boolean => /^(0|[1-9]\d{0,4})$/.test(text) && Number(text) <= 65_535;

function parseBinary(bytes: Buffer): ProxyHeader {
  const command = bytes.readUInt8(12);
  const family = bytes.readUInt8(13);
  const rest = bytes.readUInt16BE(14);
  if (command !== 0x20 && command !== 0x21) return malformed('its version or command is not known');
  if (rest > REST_BYTES_MAX) return malformed(`it declares ${rest} bytes`); // H3
  const addressBytes = family === 0x11 ? 4 : family === 0x21 ? 16 : undefined;
  if (command === 0x21 && addressBytes !== undefined && rest < addressBytes * 2 + 4) {
    return malformed('it is too short for the addresses it names');
  }
  const length = FIXED_BYTES + rest;
  if (bytes.length < length) return INCOMPLETE;
  if (command === 0x20) return { kind: 'header', length, source: 'local' };
  if (addressBytes === undefined) {
    return family === 0 ? { kind: 'header', length, source: 'unknown' } : malformed('it is not for a stream over IP');
  }
  const address = textOf(bytes.subarray(FIXED_BYTES, FIXED_BYTES + addressBytes));
  return { kind: 'header', length, source: { address, port: bytes.readUInt16BE(FIXED_BYTES + addressBytes * 2) } };
}

function textOf(address: Buffer): string {
  if (address.length === 4) return address.join('.');
  const groups = Array.from({ length: 8 }, (_, group) => address.readUInt16BE(group * 2).toString(16));
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1); // in its shortest form, as sockets say it
}

function malformed(why: string): ProxyHeader {
  return { kind: 'malformed', why };
}
