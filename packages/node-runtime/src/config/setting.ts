// How settings are described, and the kinds of value that several tables share.

import { z } from 'zod';
import { type Address, parseAddress } from './address.js';

export const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;

/** Extra facts a setting carries into the reference and into printing. */
interface SettingFacts {
  readonly description: string;
  /** Masked wherever settings are shown. */
  readonly secret?: boolean;
  /** Said in the reference when the default is worked out at start. */
  readonly defaultText?: string;
}

/** A setting with its facts; the one way settings are described. */
export function setting<Schema extends z.ZodType>(schema: Schema, facts: SettingFacts | string): Schema {
  return schema.meta(typeof facts === 'string' ? { description: facts } : { ...facts });
}

export const address = z.string().transform((text, context): Address => {
  const parsed = parseAddress(text);
  if (parsed) return parsed;
  context.addIssue(`must be host:port, such as 127.0.0.1:1883 or [::1]:1883, not "${text}"`);
  return z.NEVER;
});

export const listenerAddress = z.string().transform((text, context): Address | 'off' => {
  if (text === 'off') return 'off';
  const parsed = parseAddress(text);
  if (parsed) return parsed;
  context.addIssue(`must be host:port, such as 0.0.0.0:1883, or "off", not "${text}"`);
  return z.NEVER;
});
