// The table `mqtt`: listeners, who may connect, limits. Defaults are those of packages/mqtt-broker, said again
// here because a file shows what is in force without the broker.

import { GiB, KiB, MiB } from '@robustmq/stdx/byte-size';
import { z } from 'zod';
import { acl, auth } from './mqtt-access.js';
import { listeners } from './mqtt-listeners.js';
import { DAY_MS, HOUR_MS, setting } from './setting.js';

const limits = z
  .strictObject({
    max_packet_bytes: setting(
      z
        .int()
        .min(KiB)
        .max(256 * MiB)
        .prefault(MiB),
      'Largest MQTT packet accepted, in bytes. A client that sends a larger one is disconnected.',
    ),
    max_connections: setting(
      z.int().min(1).max(10_000_000).prefault(100_000),
      'Connections open at one time. Left at its default, it is lowered to what the limit on open files allows.',
    ),
    max_inflight: setting(
      z.int().min(1).max(65_535).prefault(1024),
      'QoS 1 and 2 messages sent to one client and not yet acknowledged by it.',
    ),
    max_queued_messages: setting(
      z.int().min(1).max(100_000_000).prefault(1000),
      'Messages waiting in memory for one client without a durable session that reads too slowly; more are dropped and counted. Durable sessions wait in storage.',
    ),
    max_subscriptions: setting(z.int().min(1).max(1_000_000).prefault(1000), 'Subscriptions of one session.'),
    max_topic_levels: setting(z.int().min(1).max(65_536).prefault(128), 'Levels of a topic name or filter.'),
    max_retained_messages: setting(
      z.int().min(0).max(1_000_000_000).prefault(1_000_000),
      'Retained messages; a new one beyond it is refused.',
    ),
    max_retained_bytes: setting(
      z.int().min(0).prefault(GiB),
      'Topics and payloads of all retained messages, in bytes.',
    ),
    connect_timeout_ms: setting(
      z.int().min(100).max(HOUR_MS).prefault(10_000),
      'Milliseconds a new connection has until its CONNECT is complete.',
    ),
    session_expiry_max_seconds: setting(
      z
        .int()
        .min(0)
        .max(0xffff_ffff)
        .prefault((7 * DAY_MS) / 1000),
      'Longest time the session of a disconnected client is kept, in seconds.',
    ),
  })
  .prefault({});

export const mqtt = z.strictObject({ listeners, auth, acl, limits }).prefault({});
