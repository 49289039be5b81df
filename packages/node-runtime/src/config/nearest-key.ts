/** A guess may differ in this part of its letters; beyond that it is not what was meant. */
const DIFFERENCE_MAX = 0.4;

/** The known key an unknown one most likely means; undefined when none is near enough to be a guess. */
export function nearestKey(unknown: string, known: readonly string[]): string | undefined {
  let nearest: string | undefined;
  let least = DIFFERENCE_MAX;
  for (const candidate of known) {
    const difference = differenceOf(unknown, candidate);
    if (difference >= least) continue;
    least = difference;
    nearest = candidate;
  }
  return nearest;
}

/** The part of the letters that differ, of the whole key or, as a second choice, of its last name alone. */
function differenceOf(unknown: string, candidate: string): number {
  const whole = editDistance(unknown, candidate) / unknown.length;
  const ofUnknown = unknown.slice(unknown.lastIndexOf('.') + 1);
  const ofCandidate = candidate.slice(candidate.lastIndexOf('.') + 1);
  return Math.min(whole, editDistance(ofUnknown, ofCandidate) / ofUnknown.length + 0.1);
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
