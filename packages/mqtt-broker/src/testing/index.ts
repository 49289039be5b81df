export { MEMORY_PEER, type MemoryLink, memoryLink } from './memory-transport.js';
export { type Duration, TestBroker, type TestBrokerOptions } from './test-broker.js';
export {
  type ConnectFields,
  type PublishFields,
  type Received,
  type ReceivedPacket,
  TestClient,
  UnexpectedPacket,
} from './test-client.js';
