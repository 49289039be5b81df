/** A condition that must hold did not: the program is wrong, not its input. Never caught to go on. */
export class AssertionFailure extends Error {
  override readonly name = 'AssertionFailure';
}

/**
 * States what must hold. A failure is a fault of this program, never of its input or its environment:
 * those are handled with coded errors.
 */
export function assert(condition: unknown, whatMustHold: string): asserts condition {
  if (!condition) throw new AssertionFailure(whatMustHold);
}

/** Marks the end of an exhaustive switch: the compiler proves that no case is missing. */
export function unreachable(value: never): never {
  throw new AssertionFailure(`unreachable value: ${JSON.stringify(value)}`);
}
