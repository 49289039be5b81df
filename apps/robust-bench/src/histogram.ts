// Latencies in buckets of fixed memory: 64 to an octave, so that any value is known within 0.8 %.
//
//   values 0 to 127        one bucket each
//   values 2^k to 2^(k+1)  64 buckets each, for k from 7 to 30

const EXACT = 128;
const PER_OCTAVE = 64;
const VALUE_MAX = 2 ** 31 - 1;
const BUCKETS = 1728; // the last one holds VALUE_MAX

export class Histogram {
  readonly #counts = new Float64Array(BUCKETS);
  #count = 0;
  #max = 0;

  /** A non-negative number; what is above 2^31 counts as 2^31 - 1. In microseconds that is half an hour. */
  record(value: number): void {
    const whole = value < 0 ? 0 : value > VALUE_MAX ? VALUE_MAX : value | 0;
    const shift = whole < EXACT ? 0 : 25 - Math.clz32(whole); // leaves 64 to 127
    const bucket = shift * PER_OCTAVE + (whole >>> shift);
    this.#counts[bucket] = (this.#counts[bucket] as number) + 1; // below BUCKETS by construction
    this.#count++;
    if (value > this.#max) this.#max = value;
  }

  get count(): number {
    return this.#count;
  }

  get max(): number {
    return this.#max;
  }

  /** The smallest bucket's middle below or at which `fraction` of the values lie; 0 when there are none. */
  quantile(fraction: number): number {
    const rank = Math.max(1, Math.ceil(fraction * this.#count));
    let seen = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      seen += this.#counts[bucket] as number; // below BUCKETS
      if (seen >= rank) return Math.min(middleOf(bucket), this.#max);
    }
    return this.#max;
  }
}

function middleOf(bucket: number): number {
  if (bucket < EXACT) return bucket;
  const shift = Math.floor(bucket / PER_OCTAVE) - 1;
  const width = 2 ** shift;
  return (bucket - shift * PER_OCTAVE) * width + (width - 1) / 2;
}
