// What a program needs to speak MQTT as a client: the load generator, bridges, tests. Bytes only, no socket.
export { ClientFrameDecoder } from '../codec/client-frame-decoder.js';
export {
  ACK_BYTES,
  ackFirstByte,
  encodeAck,
  encodeConnect,
  encodeDisconnect,
  encodeSubscribe,
  encodeUnsubscribe,
  PINGREQ,
  PLAIN_PROFILE,
  writeAck,
} from '../codec/encode.js';
export type { PacketReader } from '../codec/packet-reader.js';
export {
  type AckType,
  type ClientPacketHandler,
  type ConnackPacket,
  type ConnectPacket,
  type DisconnectPacket,
  PacketType,
  type Properties,
  type ProtocolVersion,
  type PublishPacket,
  type QoS,
  type SubscribePacket,
  type SubscriptionAckPacket,
} from '../codec/packets.js';
export { encodePublish, encodePublishFrame, type PublishFrame } from '../codec/publish-frame.js';
export { isFailure, ReasonCode } from '../codec/reason-codes.js';
export { MqttError } from '../errors.js';
