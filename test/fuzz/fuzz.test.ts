import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { corpus } from "./corpus.ts";
import { INPUTS_PER_RUN, runOnce } from "./run.ts";

// On a busy machine processes and sockets take their time.
setDefaultTimeout(60_000);

/** So many inputs, a few seconds of them; `bun run fuzz` does as many as one has the time for. */
const SAMPLE_INPUTS = 100_000;
const SEED = 1;

describe("rubbish", () => {
  for (const { seed, run, found } of corpus)
    test(`that once found this finds it no more: ${found} (seed ${seed}, run ${run})`, () => {
      expect(runOnce(seed, run).inputs).toBe(INPUTS_PER_RUN);
    });

  test(`of ${SAMPLE_INPUTS} inputs, by seed ${SEED}, harms nobody`, () => {
    let faults = 0;
    for (let run = 0; run * INPUTS_PER_RUN < SAMPLE_INPUTS; run++)
      try {
        faults += runOnce(SEED, run).faults;
      } catch (error) {
        throw new Error(`bun run fuzz -- --seed ${SEED} --run ${run}`, { cause: error });
      }
    // Much of it must be rubbish indeed, and much of it must pass.
    expect(faults).toBeGreaterThan(SAMPLE_INPUTS / 20);
    expect(faults).toBeLessThan(SAMPLE_INPUTS / 2);
  }, 60_000);

  test("is the same for the same seed", () => {
    expect(runOnce(5, 3)).toEqual(runOnce(5, 3));
  });
});
