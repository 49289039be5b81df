// The numbers of the broker under their Prometheus names; docs/reference/metrics.md describes them.

import type { MetricSample, MetricsRegistry } from '@robustmq/stdx/metrics';
import type { ConnectionCounters } from './connection/connection-deps.js';
import type { WriteTurn } from './connection/write-turn.js';
import type { EngineStats } from './session/session-port.js';

export interface BrokerNumbers {
  readonly counters: ConnectionCounters;
  readonly turn: WriteTurn;
  readonly connections: () => number;
  readonly connectionsRejected: () => number;
  readonly engine: () => EngineStats;
}

export function registerBrokerMetrics(metrics: MetricsRegistry, numbers: BrokerNumbers): void {
  registerConnectionMetrics(metrics, numbers);
  const { engine } = numbers;
  metrics.gauge({ name: 'mqtt_sessions', help: 'Sessions known to this node.' }, () => engine().sessions);
  metrics.gauge({ name: 'mqtt_sessions_online', help: 'Sessions with a connection.' }, () => engine().sessionsOnline);
  metrics.gauge({ name: 'mqtt_subscriptions', help: 'Subscriptions of all sessions.' }, () => engine().subscriptions);
  metrics.gauge({ name: 'mqtt_retained_messages', help: 'Retained messages.' }, () => engine().retainedMessages);
  metrics.gauge({ name: 'mqtt_retained_bytes', help: 'Their topics and payloads.' }, () => engine().retainedBytes);
  metrics.counter(
    { name: 'mqtt_messages_received_total', help: 'Messages accepted from clients and this process.' },
    () => engine().messagesReceived,
  );
  metrics.counter(
    { name: 'mqtt_messages_delivered_total', help: 'Messages sent to clients.' },
    () => engine().messagesDelivered,
  );
  metrics.counter(
    { name: 'mqtt_messages_stored_total', help: 'Messages appended to storage.' },
    () => engine().messagesStored,
  );
  metrics.counter(
    { name: 'mqtt_messages_dropped_total', help: 'Messages that did not reach a matching session, by reason.' },
    () => Object.entries(engine().messagesDropped).map(([reason, value]) => ({ labels: { reason }, value })),
  );
}

function registerConnectionMetrics(metrics: MetricsRegistry, numbers: BrokerNumbers): void {
  const { counters, turn } = numbers;
  metrics.gauge({ name: 'mqtt_connections', help: 'Open connections.' }, numbers.connections);
  metrics.counter(
    { name: 'mqtt_connections_rejected_total', help: 'Sockets closed at once because there are too many.' },
    numbers.connectionsRejected,
  );
  metrics.counter(
    { name: 'mqtt_connect_accepted_total', help: 'CONNECT packets accepted.' },
    () => counters.connectAccepted,
  );
  metrics.counter({ name: 'mqtt_connect_refused_total', help: 'CONNECT packets refused, by MQTT 5 reason code.' }, () =>
    labelled(counters.connectRefused, (code) => ({ reason_code: `0x${code.toString(16).padStart(2, '0')}` })),
  );
  metrics.counter({ name: 'mqtt_disconnects_total', help: 'Connections that ended, by how.' }, () =>
    labelled(counters.disconnected, (kind) => ({ kind })),
  );
  metrics.counter({ name: 'mqtt_bytes_received_total', help: 'Bytes from clients.' }, () => counters.bytesReceived);
  metrics.counter({ name: 'mqtt_bytes_sent_total', help: 'Bytes handed to sockets.' }, () => turn.bytesWritten);
  metrics.counter(
    { name: 'mqtt_packets_received_total', help: 'Packets from clients.' },
    () => counters.packetsReceived,
  );
  metrics.counter(
    { name: 'mqtt_publish_received_total', help: 'PUBLISH packets from clients.' },
    () => counters.publishReceived,
  );
  metrics.counter(
    { name: 'mqtt_publish_refused_total', help: 'PUBLISH packets the authorizer refused.' },
    () => counters.publishRefused,
  );
  metrics.counter(
    { name: 'mqtt_subscribe_refused_total', help: 'Topic filters the authorizer refused.' },
    () => counters.subscribeRefused,
  );
  metrics.counter(
    { name: 'mqtt_slow_consumers_closed_total', help: 'Connections closed because the client did not read.' },
    () => counters.slowConsumersClosed,
  );
}

function labelled<Key>(
  counts: ReadonlyMap<Key, number>,
  labels: (key: Key) => Readonly<Record<string, string>>,
): readonly MetricSample[] {
  return [...counts].map(([key, value]) => ({ labels: labels(key), value }));
}
