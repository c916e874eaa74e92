/**
 * `bun run bench`: our figures, the limits measured beside them in the same run, and the ratios.
 */
import { parseArgs } from "node:util";
import { codecCase } from "./cases/codec.ts";
import { coreCase } from "./cases/core.ts";
import { crowdCase, eightCase, eightDelayCase } from "./cases/eight.ts";
import { flagsCase } from "./cases/flags.ts";
import { idleCase, memoryCase } from "./cases/footprint.ts";
import { growthCase } from "./cases/growth.ts";
import { keysCase, millionCase } from "./cases/living.ts";
import { delayCase, singleCase, speedCase } from "./cases/pair.ts";
import { pourCase } from "./cases/pour.ts";
import { raw } from "./cases/raw.ts";
import { joinCase, startCase } from "./cases/start.ts";
import type { Case, Row } from "./measure.ts";
import { endAll } from "./processes.ts";
import { jsonOf, machine, tableOf } from "./report.ts";

const CASES: readonly Case[] = [
  raw,
  codecCase,
  speedCase,
  singleCase,
  delayCase,
  eightCase,
  eightDelayCase,
  crowdCase,
  pourCase,
  joinCase,
  startCase,
  flagsCase,
  memoryCase,
  idleCase,
  keysCase,
  millionCase,
  growthCase,
  coreCase,
];
const RUNS = 5;

const HELP = `bun run bench [-- options]

  --only <names>   these cases only, with commas between
  --runs <n>       rounds of each case; a figure is their median (default: ${RUNS})
  --json <file>    writes all figures there, too
  --svg <file>     plots growth there
  --peers          other programs side by side, as far as they are installed
  -h, --help       this text

Cases
${CASES.map(({ name, title }) => `  ${name.padEnd(16)} ${title}\n`).join("")}`;

/** Resolves with the exit status. */
async function main(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      only: { type: "string" },
      runs: { type: "string", default: String(RUNS) },
      json: { type: "string" },
      svg: { type: "string" },
      peers: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const names = values.only?.split(",");
  const unknown = names?.filter(name => CASES.every(one => one.name !== name)) ?? [];
  const runs = Number(values.runs);
  if (unknown.length > 0 || !Number.isInteger(runs) || runs < 1) {
    console.error(unknown.length > 0 ? `no such case: ${unknown.join(", ")}` : "--runs is a whole number from 1");
    return 2;
  }
  const startedAt = performance.now();
  const { cores, model } = machine();
  console.log(`${cores} × ${model}, Bun ${Bun.version}, medians of ${runs}\n`);
  const rows: Row[] = [];
  for (const one of CASES.filter(({ name }) => names?.includes(name) ?? true)) {
    const found = await one.run({ runs, peers: values.peers, svg: values.svg });
    rows.push(...found);
    console.log(tableOf(one.title, found));
  }
  const seconds = Math.round((performance.now() - startedAt) / 1000);
  console.log(`${seconds} s`);
  if (values.json !== undefined) await Bun.write(values.json, jsonOf(rows, { runs, seconds }));
  return 0;
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
  process.once(signal, async () => {
    await endAll();
    process.exit(1);
  });

try {
  process.exitCode = await main(Bun.argv.slice(2));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
} finally {
  await endAll();
}
