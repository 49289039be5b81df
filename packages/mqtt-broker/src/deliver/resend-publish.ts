import { DUP, type PublishFrame } from '../codec/publish-frame.js';
import type { Outbox } from '../connection/outbox.js';

/** Puts a PUBLISH into the outbox again: sent before, and not acknowledged. [MQTT-3.3.1-1] */
export function resendPublish(outbox: Outbox, frame: PublishFrame, packetId: number): void {
  const head = Buffer.allocUnsafe(frame.head.length);
  frame.copyHead(head, 0, packetId);
  head[0] = (head[0] ?? 0) | DUP;
  outbox.write(head);
  if (frame.payload !== undefined) outbox.write(frame.payload);
}
