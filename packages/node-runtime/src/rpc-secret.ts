import { createHash, timingSafeEqual } from 'node:crypto';
import {
  ResponderBuilder,
  ServerInterceptingCall,
  type ServerInterceptor,
  ServerListenerBuilder,
  status,
} from '@grpc/grpc-js';

/**
 * Lets in calls whose metadata says `authorization: Bearer <secret>`, and calls of the open paths. Others end
 * with UNAUTHENTICATED before a message of theirs is read.
 */
export function requireSecret(secret: string, openPaths: ReadonlySet<string>): ServerInterceptor {
  const expected = digest(`Bearer ${secret}`);
  return (method, call) => {
    if (openPaths.has(method.path)) return new ServerInterceptingCall(call);
    const listener = new ServerListenerBuilder()
      .withOnReceiveMetadata((metadata, next) => {
        const [given] = metadata.get('authorization');
        if (given !== undefined && timingSafeEqual(digest(given), expected)) return next(metadata);
        call.sendStatus({ code: status.UNAUTHENTICATED, details: given === undefined ? MISSING : WRONG });
      })
      .build();
    const responder = new ResponderBuilder().withStart((next) => next(listener)).build();
    return new ServerInterceptingCall(call, responder);
  };
}

const MISSING = 'the shared secret is missing: set grpc.secret on the calling node as on this one';
const WRONG = 'the shared secret is wrong: grpc.secret must be the same on every node';

/** Of equal length whatever was given, so that the comparison takes equal time. */
function digest(text: string | Buffer): Buffer {
  return createHash('sha256').update(text).digest();
}
