// The bytes of one client, whatever carries them: a TCP socket, a WebSocket, a pair of buffers in a test.

/** Where a client comes from. */
export interface PeerAddress {
  /** IP address without a port; `memory` for the in-memory transport. */
  readonly address: string;
  readonly port: number;
  /** Bytes from this machine: 127.0.0.0/8, ::1 or the in-memory transport. Decides what anonymous clients may do. */
  readonly scope: 'loopback' | 'remote';
  /** What its TLS certificate says, where it showed one and an authority of ours has signed it. */
  readonly certificate?: PeerCertificate | undefined;
}

/** A client certificate that was verified. */
export interface PeerCertificate {
  /** The CN of the subject; undefined when there is none, or more than one. */
  readonly commonName: string | undefined;
  /** The names of the subject's alternative name, without their kinds: hosts, addresses, URIs, mail addresses. */
  readonly alternativeNames: readonly string[];
  /** SHA-256 of the certificate, as `AB:CD:…`. */
  readonly fingerprint: string;
}

/** What a transport calls. None of these may throw. */
export interface TransportReceiver {
  /** Bytes in the order they were sent. The buffer is the receiver's to keep. */
  onBytes(chunk: Buffer): void;
  /** Everything handed to write() has left; to be heard after pendingBytes was above zero. */
  onDrain(): void;
  /** Nothing more will be read. Called once, also when the peer only closed its half. */
  onEnd(): void;
  /** The transport is gone. Called exactly once; nothing follows. */
  onClose(cause: string): void;
}

export interface ClientTransport {
  readonly kind: 'tcp' | 'tls' | 'ws' | 'wss' | 'memory';
  readonly peer: PeerAddress;
  /** Bytes handed to write() that the kernel has not taken yet. */
  readonly pendingBytes: number;
  /** Begins delivery. Called once, at once after creation. */
  open(receiver: TransportReceiver): void;
  /** Writes in one system call where the carrier can. The buffers must not change afterwards. */
  write(bytes: Buffer): void;
  writeAll(chunks: readonly Buffer[]): void;
  /** Stops and restarts onBytes. */
  pause(): void;
  resume(): void;
  /** Sends what is pending, then closes this half. */
  end(): void;
  /** Drops what is pending and closes at once. */
  destroy(): void;
}

/** Whether an address belongs to this machine; understands IPv4 mapped into IPv6. */
export function scopeOf(address: string): PeerAddress['scope'] {
  const plain = address.startsWith('::ffff:') ? address.slice('::ffff:'.length) : address;
  return plain === '::1' || plain.startsWith('127.') ? 'loopback' : 'remote';
}
