/**
 * Samples, medians, and the lines of the table.
 *
 * Contenders are measured in turn, round by round, so that whatever else the machine does meanwhile hits all of them alike; a
 * figure is the median of its rounds. Nothing is ever judged by a time alone: what counts is the ratio of two figures of one run.
 */

/** What one contender yields in one round, by name of the figure. */
export type Sample = Readonly<Record<string, number>>;

/** A median with its extremes, or why there is none. */
export type Figure =
  | { readonly value: number; readonly low: number; readonly high: number }
  | { readonly missing: string };

export interface Goal {
  /** As the issue puts it. */
  readonly text: string;
  /** Of what `atLeast` and `atMost` are bounds; our figure over the limit's if absent. */
  readonly of?: "ratio" | "ours" | "more";
  readonly atLeast?: number;
  readonly atMost?: number;
}

export interface Row {
  readonly case: string;
  readonly what: string;
  readonly unit: string;
  readonly ours: Figure;
  /** What `limit` is a figure of. */
  readonly beside: string;
  readonly limit: Figure;
  readonly goal?: Goal;
  /** The same figure of others, by name. */
  readonly others?: Readonly<Record<string, Figure>>;
}

export interface Options {
  readonly runs: number;
  readonly peers: boolean;
  /** Where the plot of `growth` goes. */
  readonly svg?: string | undefined;
}

export interface Case {
  readonly name: string;
  readonly title: string;
  run(options: Options): Promise<readonly Row[]>;
}

/** The samples of all contenders of a case. */
export class Measured {
  private readonly samples = new Map<string, Sample[]>();
  private readonly failures = new Map<string, string>();

  /** One more sample, unless this contender has failed before. */
  async round(contender: string, measure: () => Promise<Sample>): Promise<void> {
    if (this.failures.has(contender)) return;
    try {
      const sample = await measure();
      this.samples.set(contender, [...(this.samples.get(contender) ?? []), sample]);
    } catch (error) {
      this.failures.set(contender, error instanceof Error ? error.message : String(error));
    }
  }

  /** The median of a figure over all rounds. */
  figure(contender: string, name: string): Figure {
    const failure = this.failures.get(contender);
    if (failure !== undefined) return { missing: failure };
    const values = (this.samples.get(contender) ?? []).map(sample => sample[name]).filter(value => value !== undefined);
    return figureOf(values);
  }
}

type Contenders = Readonly<Record<string, () => Promise<Sample>>>;

/**
 * One round after the other, every contender in each. One that fails is left out from then on, with its reason in the table.
 */
export async function interleaved(runs: number, contenders: Contenders): Promise<Measured> {
  const measured = new Measured();
  for (let round = 0; round < runs; round += 1)
    for (const [name, measure] of Object.entries(contenders)) await measured.round(name, measure);
  return measured;
}

/** The same with all contenders of a round at once: for what they do not disturb in each other, such as memory. */
export async function sideBySide(runs: number, contenders: Contenders): Promise<Measured> {
  const measured = new Measured();
  for (let round = 0; round < runs; round += 1)
    await Promise.all(Object.entries(contenders).map(([name, measure]) => measured.round(name, measure)));
  return measured;
}

export function figureOf(values: readonly number[]): Figure {
  if (values.length === 0) return { missing: "no samples" };
  return { value: quantile(values, 0.5), low: Math.min(...values), high: Math.max(...values) };
}

/** `missing` stands for what cannot be measured, and says why. */
export function missing(reason: string): Figure {
  return { missing: reason };
}

/** By linear interpolation between the two nearest samples. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const position = share * (sorted.length - 1);
  const low = sorted[Math.floor(position)] ?? Number.NaN;
  const high = sorted[Math.ceil(position)] ?? Number.NaN;
  return low + (high - low) * (position - Math.floor(position));
}

export function ratioOf(row: Row): number | undefined {
  if ("missing" in row.ours || "missing" in row.limit || row.limit.value === 0) return undefined;
  return row.ours.value / row.limit.value;
}

/** Undefined where there is no goal, or nothing to hold against it. */
export function isReached(row: Row): boolean | undefined {
  const { goal, ours, limit } = row;
  if (goal === undefined || "missing" in ours) return undefined;
  if (goal.atLeast === undefined && goal.atMost === undefined) return undefined;
  const bounded = (): number | undefined => {
    switch (goal.of) {
      case "ours":
        return ours.value;
      case "more":
        return "missing" in limit ? undefined : ours.value - limit.value;
      default:
        return ratioOf(row);
    }
  };
  const value = bounded();
  if (value === undefined) return undefined;
  return value >= (goal.atLeast ?? Number.NEGATIVE_INFINITY) && value <= (goal.atMost ?? Number.POSITIVE_INFINITY);
}
