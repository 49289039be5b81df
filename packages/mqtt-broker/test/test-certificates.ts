// Authorities and certificates for tests, made on the spot.

import 'reflect-metadata'; // before @peculiar/x509, which needs it
import { webcrypto } from 'node:crypto';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  BasicConstraintsExtension,
  cryptoProvider,
  PemConverter,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';

const KEYS = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const HOUR_MS = 3_600_000;
const crypto = webcrypto;
cryptoProvider.set(crypto as never); // typed for browsers, which we do not have the types of

export interface Authority {
  /** PEM. */
  readonly cert: string;
  /** A certificate for names of hosts, with its key, both PEM. */
  issue(names: {
    readonly commonName: string;
    readonly hosts?: readonly string[];
  }): Promise<{ readonly cert: string; readonly key: string }>;
}

export async function newAuthority(name: string): Promise<Authority> {
  const keys = await crypto.subtle.generateKey(KEYS, true, ['sign', 'verify']);
  const issuer = `CN=${name}`;
  const now = Date.now();
  const dates = { notBefore: new Date(now - HOUR_MS), notAfter: new Date(now + 24 * HOUR_MS) };
  const root = await X509CertificateGenerator.createSelfSigned({
    serialNumber: '01',
    name: issuer,
    ...dates,
    signingAlgorithm: KEYS,
    keys,
    extensions: [new BasicConstraintsExtension(true, 2, true)],
  });
  let serial = 1;
  return {
    cert: root.toString('pem'),
    async issue({ commonName, hosts = [] }) {
      const own = await crypto.subtle.generateKey(KEYS, true, ['sign', 'verify']);
      const leaf = await X509CertificateGenerator.create({
        serialNumber: (++serial).toString(16).padStart(2, '0'),
        subject: `CN=${commonName}`,
        issuer,
        ...dates,
        signingAlgorithm: KEYS,
        publicKey: own.publicKey,
        signingKey: keys.privateKey,
        extensions: [new SubjectAlternativeNameExtension(hosts.map((value) => ({ type: 'dns', value })))],
      });
      const key = PemConverter.encode(await crypto.subtle.exportKey('pkcs8', own.privateKey), 'PRIVATE KEY');
      return { cert: leaf.toString('pem'), key };
    },
  };
}

/** Writes texts to files of a new directory, and returns their paths under the same names. */
export async function toFiles<Name extends string>(
  texts: Readonly<Record<Name, string>>,
): Promise<Record<Name, string>> {
  const directory = await mkdtemp(join(tmpdir(), 'robustmq-tls-'));
  const entries = Object.entries<string>(texts).map(async ([name, text]) => {
    const path = join(directory, `${name}.pem`);
    await writeFile(path, text);
    return [name, path] as const;
  });
  return Object.fromEntries(await Promise.all(entries)) as Record<Name, string>; // the names that were given
}
