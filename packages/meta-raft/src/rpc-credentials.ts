import { type ChannelCredentials, credentials } from '@grpc/grpc-js';

/** How a connection to another node is secured: grpc-js channel credentials. */
export type RpcCredentials = ChannelCredentials;

/** No encryption: for loopback, or a network that does it. */
export function plainText(): RpcCredentials {
  return credentials.createInsecure();
}
