import { errorMessage } from '@robustmq/stdx/coded-error';
import { StorageError } from '../errors.js';

/** Names the package an engine needs, where it is looked for, and how it gets there. */
export interface ClientPackage {
  readonly name: string;
  /** The range that works, as npm takes it. */
  readonly range: string;
}

/** Loads the client of an engine when it is configured, and only then. StorageError CLIENT_MISSING. */
export async function loadClient<T>(client: ClientPackage, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (cause) {
    const { code } = cause as { code?: unknown }; // whatever the loader threw
    if (code !== 'ERR_MODULE_NOT_FOUND' && code !== 'MODULE_NOT_FOUND')
      throw new StorageError('CLIENT_MISSING', `the package ${client.name} cannot be loaded: ${errorMessage(cause)}`, {
        cause,
      });
    throw new StorageError(
      'CLIENT_MISSING',
      `this storage needs the package ${client.name}, which is not installed: run \`npm install "${client.name}@${client.range}"\` in the folder of the program or in one above it, and start again`,
      { cause },
    );
  }
}
