import type { QoS } from '../codec/packets.js';

/** A message goes out with the lower of its own QoS and the granted one. [MQTT-3.8.4-8] */
export function lowerQoS(one: QoS, other: QoS): QoS {
  return Math.min(one, other) as QoS; // one of the two
}
