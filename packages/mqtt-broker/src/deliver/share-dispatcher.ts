import type { Session } from '../session/session.js';
import type { SharedGroup } from '../share/shared-group.js';
import type { DeliveryStats } from './delivery-stats.js';
import type { OutgoingMessage } from './outgoing-message.js';
import type { Lease, LeaseOwner, StoredAt } from './session-delivery.js';

export class ShareDispatcher implements LeaseOwner {
  readonly #stats: DeliveryStats;

  constructor(stats: DeliveryStats) {
    this.#stats = stats;
  }

  dispatch(message: OutgoingMessage, group: SharedGroup<Session>, at: StoredAt | undefined): void {
    const member = group.pick(message);
    if (member === undefined) return;
    const grant = {
      qos: member.qos,
      retainAsPublished: member.retainAsPublished,
      subscriptionIdentifiers:
        member.subscriptionIdentifier === undefined ? undefined : [member.subscriptionIdentifier],
    };
    if (message.qos > 0 && member.qos > 0) {
      if (member.session.delivery.deliverLease({ owner: this, message, grant, at }) === 'refused')
        this.#stats.droppedQueueFull++;
      return;
    }
    const port = member.session.link?.port;
    if (port === undefined) return;
    const frame = message.frame({
      version: port.version,
      qos: 0,
      retain: message.retain && grant.retainAsPublished,
      identifiers: port.version === 5 ? grant.subscriptionIdentifiers : undefined,
    });
    port.outbox.writeFrame(frame, 0);
  }

  settled(_at: StoredAt | undefined): void {}
  returned(_lease: Lease): void {}
}
