/** The version of this package, as clients see it in `$SYS/broker/version`. A test holds it against package.json. */
export const BROKER_VERSION = '0.1.0';
