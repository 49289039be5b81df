/** Counters of the delivery side, plain numbers that the hot path adds to. */
export class DeliveryStats {
  delivered = 0;
  /** QoS 0 to a client whose socket does not keep up. */
  droppedCongested = 0;
  /** QoS 1 and 2 to a client without a durable session whose queue is full. */
  droppedQueueFull = 0;
  /** Larger than the client's Maximum Packet Size. [MQTT-3.1.2-25] */
  droppedTooLarge = 0;
  droppedExpired = 0;
  /** Acks that matched nothing in flight. */
  strayAcks = 0;
}
