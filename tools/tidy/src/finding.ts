/** One thing that should be otherwise. `what` says what to do instead. */
export interface Finding {
  readonly rule: string;
  readonly path: string;
  readonly line: number;
  readonly what: string;
}

export function describeFinding({ rule, path, line, what }: Finding): string {
  return `${path}:${line}  ${what}  [${rule}]`;
}
