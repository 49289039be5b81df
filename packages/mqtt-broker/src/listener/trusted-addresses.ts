import { BlockList, isIP } from 'node:net';
import { MqttError } from '../errors.js';

/** Addresses and networks: `10.0.0.0/8`, `192.0.2.7`, `2001:db8::/32`. */
export class TrustedAddresses {
  readonly #list = new BlockList();

  /** Errors: INVALID_OPTION for what is neither. */
  constructor(networks: readonly string[]) {
    for (const network of networks) this.#add(network);
  }

  /** Understands IPv4 mapped into IPv6. */
  has(address: string): boolean {
    const plain = address.startsWith('::ffff:') && isIP(address.slice(7)) === 4 ? address.slice(7) : address;
    const version = isIP(plain);
    return version !== 0 && this.#list.check(plain, version === 4 ? 'ipv4' : 'ipv6');
  }

  #add(network: string): void {
    const [address = '', bits, ...rest] = network.split('/');
    const version = isIP(address);
    const bitsMax = version === 4 ? 32 : 128;
    const prefix = bits === undefined ? bitsMax : /^\d{1,3}$/.test(bits) ? Number(bits) : -1;
    if (version === 0 || rest.length > 0 || prefix < 0 || prefix > bitsMax) {
      throw new MqttError('INVALID_OPTION', `"${network}" is no address or network, such as 10.0.0.0/8 or ::1`);
    }
    this.#list.addSubnet(address, prefix, version === 4 ? 'ipv4' : 'ipv6');
  }
}
