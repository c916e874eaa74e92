/**
 * The long run: `bun run fuzz -- --inputs 10000000 --seed 7`. Prints a summary, or what failed and how to see it again; put
 * the seed and the run of a failure into corpus.ts, so that `bun test` looks at it from then on.
 */
import { parseArgs } from "node:util";
import { INPUTS_PER_RUN, runOnce } from "./run.ts";

const HELP = `bun run fuzz -- [options]

  --inputs <n>   how many (default 1,000,000)
  --seed <n>     which (default: drawn)
  --run <n>      this run of the seed only, as a failure names it`;

/** What was asked for; undefined where that is no more than help. */
function optionsOf(argv: readonly string[]) {
  const text = { type: "string" } as const;
  const flags = { inputs: text, seed: text, run: text, help: { type: "boolean", short: "h" } } as const;
  const { values } = parseArgs({ args: [...argv], options: flags });
  const numbers = [values.inputs ?? 1_000_000, values.seed ?? Math.floor(Math.random() * 2 ** 31), values.run ?? 0];
  const [inputs = 0, seed = 0, run = 0] = numbers.map(Number);
  if (![inputs, seed, run].every(Number.isSafeInteger)) throw new Error("inputs, seed and run are whole numbers");
  return values.help === true ? undefined : { inputs, seed, only: values.run === undefined ? undefined : run };
}

let options: ReturnType<typeof optionsOf>;
try {
  options = optionsOf(Bun.argv.slice(2));
} catch (error) {
  console.error(`fuzz: ${error instanceof Error ? error.message : String(error)}`);
  process.exit(2);
}
if (options === undefined) {
  console.log(HELP);
  process.exit(0);
}
const { inputs, seed, only } = options;
const began = performance.now();
let done = 0;
let faults = 0;
let failures = 0;
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
