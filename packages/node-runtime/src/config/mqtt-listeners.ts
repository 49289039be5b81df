// The tables below `mqtt.listeners`: where clients connect, and over what.

import { z } from 'zod';
import { listenerAddress, setting } from './setting.js';

const proxyProtocol = setting(
  z
    .array(z.string().regex(/^[0-9A-Fa-f.:]+(\/\d{1,3})?$/, 'must be addresses or networks, such as 10.0.0.0/8'))
    .prefault([]),
  'Addresses and networks of load balancers. What connects from there must begin with a header of the PROXY protocol, version 1 or 2, and counts as the client that the header names.',
);

const path = setting(
  z
    .string()
    .regex(/^\/[^\s?#]*$/, 'must begin with / and hold no blank, ? or #')
    .prefault('/mqtt'),
  'The path of the WebSocket upgrade request.',
);

const pemFiles = z.array(z.string().min(1, 'must not be empty')).prefault([]);

const tlsSettings = {
  cert: setting(
    pemFiles,
    'PEM files with a certificate and what leads to its authority. A client that names a server gets the one for that name, others get the first. The files are read every 30 seconds; when they change, new connections get the new ones.',
  ),
  key: setting(pemFiles, 'PEM files with the private keys, in the order of cert.'),
  ca: setting(z.string().min(1).optional(), 'PEM file of the authorities that sign client certificates.'),
  crl: setting(z.string().min(1).optional(), 'PEM file of revoked client certificates.'),
  client_certificate: setting(
    z.enum(['none', 'optional', 'required']).prefault('none'),
    'Whether clients show a certificate. One that is shown and not signed by an authority in ca is always refused.',
  ),
  min_version: setting(z.enum(['1.2', '1.3']).prefault('1.2'), 'The oldest version of TLS that is spoken.'),
};

export const listeners = z
  .strictObject({
    tcp: z
      .strictObject({
        bind: setting(listenerAddress.prefault('0.0.0.0:1883'), 'MQTT over TCP; "off" for none.'),
        proxy_protocol: proxyProtocol,
      })
      .prefault({}),
    tls: z
      .strictObject({
        bind: setting(listenerAddress.prefault('off'), 'MQTT over TLS, such as 0.0.0.0:8883; "off" for none.'),
        ...tlsSettings,
        proxy_protocol: proxyProtocol,
      })
      .prefault({}),
    ws: z
      .strictObject({
        bind: setting(listenerAddress.prefault('0.0.0.0:8083'), 'MQTT over WebSocket; "off" for none.'),
        path,
        proxy_protocol: proxyProtocol,
      })
      .prefault({}),
    wss: z
      .strictObject({
        bind: setting(
          listenerAddress.prefault('off'),
          'MQTT over WebSocket over TLS, such as 0.0.0.0:8084; "off" for none.',
        ),
        path,
        ...tlsSettings,
        proxy_protocol: proxyProtocol,
      })
      .prefault({}),
  })
  .prefault({});
