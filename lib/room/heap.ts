/**
 * A binary heap: the least entry first, by an order given once. For the timers of a node and the events of a world.
 */

export class Heap<T> {
  private readonly entries: T[] = [];

  constructor(private readonly isBefore: (one: T, other: T) => boolean) {}

  get first(): T | undefined {
    return this.entries[0];
  }

  push(entry: T): void {
    const { entries, isBefore } = this;
    let index = entries.length;
    entries.push(entry);
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = entries[parent];
      if (above === undefined || !isBefore(entry, above)) break;
      entries[index] = above;
      index = parent;
    }
    entries[index] = entry;
  }

  /** Takes the first. */
  pop(): T | undefined {
    const { entries, isBefore } = this;
    const first = entries[0];
    const last = entries.pop();
    if (last === undefined || entries.length === 0) return first;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      const left = entries[child];
      if (left === undefined) break;
      const right = entries[child + 1];
      const least = right !== undefined && isBefore(right, left) ? right : left;
      if (least === right) child += 1;
      if (!isBefore(least, last)) break;
      entries[index] = least;
      index = child;
    }
    entries[index] = last;
    return first;
  }
}
