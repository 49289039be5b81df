/** A priority queue: the item that comes first by `before` is taken first. Push and shift in logarithmic time. */
export class BinaryHeap<T> {
  readonly #before: (a: T, b: T) => boolean;
  readonly #items: T[] = [];

  constructor(before: (a: T, b: T) => boolean) {
    this.#before = before;
  }

  get length(): number {
    return this.#items.length;
  }

  peek(): T | undefined {
    return this.#items[0];
  }

  push(item: T): void {
    let at = this.#items.push(item) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#before(item, this.#items[parent] as T)) break; // parent < at
      this.#items[at] = this.#items[parent] as T; // as above
      at = parent;
    }
    this.#items[at] = item;
  }

  shift(): T | undefined {
    const first = this.#items[0];
    const last = this.#items.pop();
    if (last !== undefined && this.#items.length > 0) this.#sink(last);
    return first;
  }

  clear(): void {
    this.#items.length = 0;
  }

  /** Puts an item in at the top and lets it sink to its place. */
  #sink(item: T): void {
    const size = this.#items.length;
    let at = 0;
    for (let child = 1; child < size; child = 2 * at + 1) {
      const right = child + 1;
      if (right < size && this.#before(this.#items[right] as T, this.#items[child] as T)) child = right; // both < size
      if (!this.#before(this.#items[child] as T, item)) break; // child < size
      this.#items[at] = this.#items[child] as T; // as above
      at = child;
    }
    this.#items[at] = item;
  }
}
