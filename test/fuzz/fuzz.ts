/**
 * The long run: `bun run fuzz -- --inputs 10000000 --seed 7`. Prints a summary, or what failed and how to see it again; put
 * the seed and the run of a failure into corpus.ts, so that `bun test` looks at it from then on.
 */
import { parseArgs } from "node:util";
import { INPUTS_PER_RUN, runOnce } from "./run.ts";

const { values } = parseArgs({
  options: { inputs: { type: "string" }, seed: { type: "string" }, run: { type: "string" } },
});
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31));
const inputs = Number(values.inputs ?? 1_000_000);
const began = performance.now();
let done = 0;
let faults = 0;
let failures = 0;
const only = values.run === undefined ? undefined : Number(values.run);
for (let run = only ?? 0; done < inputs && (only === undefined || run === only); run++) {
  try {
    const outcome = runOnce(seed, run);
    faults += outcome.faults;
  } catch (error) {
    failures += 1;
    console.error(`bun run fuzz -- --seed ${seed} --run ${run}`);
    console.error(error);
    if (failures >= 20) break;
  }
  done += INPUTS_PER_RUN;
  if (run % 2_500 === 2_499) console.error(`${done.toLocaleString("en-US")} inputs, ${failures} failures`);
}
const seconds = (performance.now() - began) / 1_000;
const rate = Math.round(done / seconds).toLocaleString("en-US");
console.log(
  `seed ${seed}: ${done.toLocaleString("en-US")} inputs in ${seconds.toFixed(1)} s (${rate}/s), ` +
    `${faults.toLocaleString("en-US")} ended a link, ${failures} failures`,
);
process.exitCode = failures === 0 ? 0 : 1;
