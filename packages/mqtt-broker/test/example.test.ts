import { expect, it } from '@jest/globals';
import { createMemoryMeta } from '@robustmq/meta-raft/testing';
import { TestBroker } from '@robustmq/mqtt-broker/testing';

it('tells the others when a sensor falls silent', async () => {
  await using broker = await TestBroker.start({ meta: createMemoryMeta() });
  const watcher = await broker.connect();
  await watcher.subscribe('sensors/+/state');

  const will = {
    topicName: 'sensors/7/state',
    payload: Buffer.from('lost'),
    qos: 0,
    retain: false,
    properties: undefined,
  } as const;
  await broker.connect({ clientId: 'sensor-7', keepAlive: 60, will });
  await broker.advance('2m'); // the clock of the broker, not yours: this takes no time

  const message = await watcher.receive('publish');
  expect(message.topicName).toBe('sensors/7/state');
  expect(message.payload.toString()).toBe('lost');
});
