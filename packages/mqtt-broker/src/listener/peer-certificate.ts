import type { TLSSocket } from 'node:tls';
import type { PeerCertificate } from '../connection/transport.js';

/**
 * What the certificate of a client says; undefined when it showed none, and `untrusted` when it showed one that
 * no authority of ours has signed, or that has expired or is revoked.
 */
export function peerCertificateOf(socket: TLSSocket): PeerCertificate | 'untrusted' | undefined {
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) return undefined;
  if (!socket.authorized) return 'untrusted';
  const names = socket.getPeerCertificate();
  const commonName: unknown = names.subject?.CN; // several CNs are a list: none of them is the name then
  return {
    commonName: typeof commonName === 'string' ? commonName : undefined,
    alternativeNames: alternativeNames(certificate.subjectAltName),
    fingerprint: certificate.fingerprint256,
  };
}

/** `DNS:a, URI:b`, as Node writes them. One that it had to quote holds characters that no name of ours may. */
function alternativeNames(text: string | undefined): readonly string[] {
  if (text === undefined || text.includes('"')) return [];
  return text.split(', ').flatMap((entry) => {
    const colon = entry.indexOf(':');
    return colon < 0 ? [] : [entry.slice(colon + 1)];
  });
}
