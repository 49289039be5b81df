import { Level } from 'level';
import { MetaError } from '../errors.js';

/** What the state store needs of a database in the level family, with text keys and bytes as values. */
export type LevelDatabase = Pick<Level<string, Buffer>, 'batch' | 'iterator' | 'get' | 'snapshot' | 'clear' | 'close'>;

/**
 * Opens or creates a LevelDB in a directory. Rejects with DIRECTORY_MISMATCH when another process has it,
 * and with DAMAGED when LevelDB cannot read it.
 */
export async function openLevelDatabase(directory: string): Promise<LevelDatabase> {
  const db = new Level<string, Buffer>(directory, { keyEncoding: 'utf8', valueEncoding: 'buffer' });
  try {
    await db.open();
  } catch (error) {
    throw openingFailed(directory, error);
  }
  return db;
}

function openingFailed(directory: string, error: unknown): MetaError {
  const cause = error instanceof Error && error.cause ? error.cause : error;
  const code = (cause as { readonly code?: unknown }).code; // errors of abstract-level carry a code
  if (code === 'LEVEL_LOCKED') {
    return new MetaError(
      'DIRECTORY_MISMATCH',
      `The metadata state in ${directory} is in use by another process. Stop it, or give this node a directory of its own.`,
      { cause },
    );
  }
  const text = cause instanceof Error ? cause.message : String(cause);
  return new MetaError(
    'DAMAGED',
    `The metadata state in ${directory} cannot be opened: ${text}. If the disk is sound, replace this node by one with an empty data directory and a new id.`,
    { cause },
  );
}
