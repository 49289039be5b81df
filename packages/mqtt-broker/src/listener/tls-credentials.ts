// The certificates of a TLS listener, and how they are replaced while it runs.
//
//   T1. What is in force was loaded whole: every certificate with its key, and what clients are checked against.
//   T2. A set that does not load is refused, and the one in force stays. At start there is none, so the start fails.
//   T3. Files are compared by their bytes. Renewal tools replace files, directories or links, each in its own
//       way; events of the file system miss some of them, and a read every half minute misses none.

import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls';
import type { Clock, Timer } from '@robustmq/stdx/clock';
import { errorMessage } from '@robustmq/stdx/coded-error';
import type { Logger } from '@robustmq/stdx/logger';
import { MqttError } from '../errors.js';

export interface TlsOptions {
  /** PEM files. The first is shown to clients that name no server, or one that no certificate is for. */
  readonly certificates: readonly { readonly cert: string; readonly key: string }[];
  /** PEM file of the authorities that sign client certificates. Required when those are asked for. */
  readonly ca?: string | undefined;
  /** PEM file of revoked client certificates. Default: none are. */
  readonly crl?: string | undefined;
  /** Whether clients show a certificate. Default `none`. One that is shown and not trusted is always refused. */
  readonly clientCertificate?: 'none' | 'optional' | 'required';
  /** Default TLSv1.2: older ones are broken. */
  readonly minVersion?: 'TLSv1.2' | 'TLSv1.3';
}

export interface TlsCredentialsDeps {
  readonly clock: Clock;
  readonly logger: Logger;
}

/** How often the files are read, in milliseconds: soon enough for a renewal, days before the old one ends. */
const CHECK_INTERVAL_MS = 30_000;

interface Loaded {
  readonly bytes: readonly Buffer[];
  readonly standard: SecureContextOptions;
  readonly contexts: readonly { readonly certificate: X509Certificate; readonly context: SecureContext }[];
}

export class TlsCredentials {
  readonly #options: TlsOptions;
  readonly #deps: TlsCredentialsDeps;
  #loaded: Loaded;
  /** The bytes that were refused last, so that they are complained of once. */
  #refused: readonly Buffer[] | undefined;
  #timer: Timer | undefined;
  #onReplaced: ((standard: SecureContextOptions) => void) | undefined;

  private constructor(options: TlsOptions, deps: TlsCredentialsDeps, loaded: Loaded) {
    this.#options = options;
    this.#deps = deps;
    this.#loaded = loaded;
  }

  /** Errors: INVALID_OPTION, with the file that does not fit. */
  static async load(options: TlsOptions, deps: TlsCredentialsDeps): Promise<TlsCredentials> {
    const asks = (options.clientCertificate ?? 'none') !== 'none';
    if (options.certificates.length === 0) throw new MqttError('INVALID_OPTION', 'a TLS listener needs a certificate');
    if (asks && options.ca === undefined) {
      throw new MqttError('INVALID_OPTION', 'client certificates are asked for, and ca names nobody who signs them');
    }
    return new TlsCredentials(options, deps, build(options, await readAll(options)));
  }

  /** What a server is made of; clients that name a server are shown its certificate. */
  get serverOptions() {
    const { clientCertificate = 'none', minVersion = 'TLSv1.2' } = this.#options;
    return {
      ...this.#loaded.standard,
      minVersion,
      requestCert: clientCertificate !== 'none',
      rejectUnauthorized: clientCertificate === 'required',
      SNICallback: (name: string, done: (error: Error | null, context?: SecureContext) => void) => {
        done(null, this.#contextFor(name));
      },
    };
  }

  /** Watches the files; `onReplaced` gets what a server shows to clients that name none. */
  watch(onReplaced: (standard: SecureContextOptions) => void): void {
    this.#onReplaced = onReplaced;
    this.#arm();
  }

  close(): void {
    this.#timer?.cancel();
    this.#onReplaced = undefined;
  }

  /** Reads the files now. Never rejects: what does not load is logged, and changes nothing (T2). */
  async check(): Promise<'replaced' | 'same' | 'refused'> {
    const { logger } = this.#deps;
    let bytes: readonly Buffer[] = [];
    try {
      bytes = await readAll(this.#options);
      if (areEqual(bytes, this.#loaded.bytes)) return 'same'; // T3
      this.#loaded = build(this.#options, bytes);
    } catch (error) {
      if (this.#refused === undefined || !areEqual(bytes, this.#refused)) {
        logger.error({ error: errorMessage(error) }, 'the new TLS files do not load: those before stay in force');
      }
      this.#refused = bytes;
      return 'refused';
    }
    this.#refused = undefined;
    this.#onReplaced?.(this.#loaded.standard);
    const validTo = this.#loaded.contexts[0]?.certificate.validTo;
    logger.info({ files: this.#options.certificates.map(({ cert }) => cert), validTo }, 'new TLS files are in force');
    return 'replaced';
  }

  #arm(): void {
    this.#timer = this.#deps.clock.setTimer(CHECK_INTERVAL_MS, () => {
      void this.check().then(() => {
        if (this.#onReplaced !== undefined) this.#arm();
      });
    });
  }

  #contextFor(name: string): SecureContext | undefined {
    const { contexts } = this.#loaded;
    return (contexts.find(({ certificate }) => certificate.checkHost(name) !== undefined) ?? contexts[0])?.context;
  }
}

async function readAll({ certificates, ca, crl }: TlsOptions): Promise<readonly Buffer[]> {
  const files = [
    ...certificates.flatMap(({ cert, key }) => [cert, key]),
    ...[ca, crl].filter((one) => one !== undefined),
  ];
  return await Promise.all(
    files.map((file) =>
      readFile(file).catch((error: unknown) => {
        throw new MqttError('INVALID_OPTION', `cannot read the TLS file ${file}: ${errorMessage(error)}`, {
          cause: error,
        });
      }),
    ),
  );
}

function build({ certificates, ca, crl }: TlsOptions, bytes: readonly Buffer[]): Loaded {
  let next = certificates.length * 2;
  const trust: SecureContextOptions = {
    ...(ca === undefined ? {} : { ca: bytes[next++] }),
    ...(crl === undefined ? {} : { crl: bytes[next] }),
  };
  const each = certificates.map(({ cert, key }, index) => {
    const options = { ...trust, cert: bytes[index * 2], key: bytes[index * 2 + 1] };
    try {
      const certificate = new X509Certificate(bytes[index * 2] ?? '');
      return { options, certificate, context: createSecureContext(options) };
    } catch (error) {
      throw new MqttError(
        'INVALID_OPTION',
        `${cert} with ${key} is no certificate with its key: ${errorMessage(error)}`,
        {
          cause: error,
        },
      );
    }
  });
  return { bytes, standard: each[0]?.options ?? trust, contexts: each };
}

function areEqual(some: readonly Buffer[], others: readonly Buffer[]): boolean {
  return some.length === others.length && some.every((one, index) => others[index]?.equals(one) === true);
}
