import type { handleUnaryCall, ServerUnaryCall } from '@grpc/grpc-js';
import { IDENTITY_KEYS } from '../client/request-identity.js';
import { toRpcFailure } from '../client/rpc-status.js';
import { MetaError } from '../errors.js';
import type { RequestIdentity } from '../state/command.js';

/** A handler that answers with what `serve` resolves with, or with its error as etcd's clients expect it. */
export function unary<Request, Response>(
  serve: (request: Request, call: ServerUnaryCall<Request, Response>) => Promise<Response>,
): handleUnaryCall<Request, Response> {
  return (call, answer) => {
    serve(call.request, call).then(
      (response) => answer(null, response),
      (error: unknown) => answer(toRpcFailure(error)),
    );
  };
}

/** Who repeats the request, if the client says so; stock etcd clients do not. */
export function identityOf(call: ServerUnaryCall<unknown, unknown>): { readonly identity?: RequestIdentity } {
  const read = (key: string) => call.metadata.get(key)[0]?.toString();
  const client = read(IDENTITY_KEYS.client);
  if (client === undefined) return {};
  const number = (key: string) => {
    const value = Number(read(key));
    if (Number.isSafeInteger(value) && value >= 0) return value;
    throw new MetaError('INVALID', `The metadata ${key} of the request is no whole number.`);
  };
  return {
    identity: {
      client,
      sequence: number(IDENTITY_KEYS.sequence),
      settledBelow: number(IDENTITY_KEYS.settledBelow),
      attempt: number(IDENTITY_KEYS.attempt),
    },
  };
}
