import { MqttError } from '../errors.js';

/** A packet that cannot be parsed. `clause` names the broken rule, as MqttErrorOptions tells. */
export function malformed(what: string, clause: string): MqttError {
  return new MqttError('MALFORMED_PACKET', what, { clause });
}

/** A packet that parses, but is not allowed. */
export function protocolError(what: string, clause: string): MqttError {
  return new MqttError('PROTOCOL_ERROR', what, { clause });
}
