/** The known key an unknown one most likely means; undefined when none is near enough to be a guess. */
export function nearestKey(unknown: string, known: readonly string[]): string | undefined {
  let nearest: string | undefined;
  let shortest = Number.POSITIVE_INFINITY;
  for (const candidate of known) {
    const distance = closeness(unknown, candidate);
    if (distance < shortest) {
      shortest = distance;
      nearest = candidate;
    }
  }
  return shortest <= Math.max(2, unknown.length * 0.4) ? nearest : undefined;
}

/** A whole key is compared, and its last name alone: `port` for `grpc.port` is a likelier slip than four letters. */
function closeness(unknown: string, candidate: string): number {
  const whole = editDistance(unknown, candidate);
  const lastOfUnknown = unknown.slice(unknown.lastIndexOf('.') + 1);
  const lastOfCandidate = candidate.slice(candidate.lastIndexOf('.') + 1);
  // The half step prefers a match of the whole key over one of its last name only.
  return Math.min(whole, editDistance(lastOfUnknown, lastOfCandidate) + 0.5);
}

/** Insertions, deletions, replacements and swaps of neighbours (optimal string alignment). */
export function editDistance(a: string, b: string): number {
  let beforePrevious: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const replace = at(previous, column - 1) + (a[row - 1] === b[column - 1] ? 0 : 1);
      let best = Math.min(at(previous, column) + 1, at(current, column - 1) + 1, replace);
      const swapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
      if (swapped) best = Math.min(best, at(beforePrevious, column - 2) + 1);
      current.push(best);
    }
    beforePrevious = previous;
    previous = current;
  }
  return at(previous, b.length);
}

function at(row: readonly number[], column: number): number {
  return row[column] ?? Number.POSITIVE_INFINITY;
}
