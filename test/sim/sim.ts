/**
 * `bun run sim`: plays a simulated room and prints its figures as one JSON object, or sweeps over many seeds.
 *
 * Exits with 1 where a rule was broken, and prints the seed and the command that plays the same world again.
 */
import { parseArgs } from "node:util";
import { FAULT_KINDS, type FaultKind, type Report, Run, type Scenario } from "./scenario.ts";
import { WORKLOADS } from "./workloads.ts";

const HELP = `bun run sim -- [options]

  --workload <name>      start from a named workload: ${Object.keys(WORKLOADS).slice(0, 4).join(", ")},
                         ${Object.keys(WORKLOADS).slice(4, 8).join(", ")},
                         ${Object.keys(WORKLOADS).slice(8).join(", ")}
  --nodes <n>            members                                 --seed <n>          the world (default 1)
  --latency <ms|lo..hi>  one way, drawn once a link              --seeds <a..b>      one line for each broken world,
  --jitter <ms>          on top, for every frame                                     and a summary
  --rate <n>             operations a second                     --reads <part>      of them that only read
  --seconds <n>          how long they talk                      --senders <n>       who talks; 0 for all
  --size <bytes>         of a text                               --settle <ms>       quiet before the talk
  --join-every <ms>      between two joins                       --undialable <part> behind a NAT
  --fault-rate <n>       faults a second                         --mass-crash <part> crash at one instant
  --faults <a,b>         of ${FAULT_KINDS.join(", ")}
  --split                the network is cut in two halves while they talk
`;

const NUMBERS = {
  nodes: "nodes",
  jitter: "jitter",
  rate: "rate",
  reads: "reads",
  seconds: "seconds",
  senders: "senders",
  size: "size",
  settle: "settle",
  "join-every": "joinEvery",
  undialable: "undialable",
  "fault-rate": "faultRate",
  "mass-crash": "massCrash",
  seed: "seed",
} as const satisfies Record<string, keyof Scenario>;

function main(argv: readonly string[]): number {
  const strings = [...Object.keys(NUMBERS), "workload", "latency", "faults", "seeds"];
  const options: Record<string, { type: "string" | "boolean"; short?: string }> = {
    ...Object.fromEntries(strings.map(name => [name, { type: "string" as const }])),
    split: { type: "boolean" },
    help: { type: "boolean", short: "h" },
  };
  const { values } = parseArgs({ args: [...argv], options });
  if (values["help"] === true) {
    process.stdout.write(HELP);
    return 0;
  }
  const scenario = scenarioOf(values);
  const seeds = String(values["seeds"] ?? "");
  return seeds === "" ? playOne(scenario, argv) : sweep(scenario, rangeOf(seeds), argv);
}

function scenarioOf(values: Readonly<Record<string, unknown>>): Scenario {
  const name = String(values["workload"] ?? "mixed");
  const base = WORKLOADS[name];
  if (base === undefined) throw new Error(`no workload is called ${name}: ${Object.keys(WORKLOADS).join(", ")}`);
  const changes: Record<string, unknown> = {};
  // Without a named workload the bare room has no faults unless asked for.
  if (values["workload"] === undefined) changes["faultRate"] = 0;
  for (const [option, field] of Object.entries(NUMBERS)) {
    if (values[option] === undefined) continue;
    const value = Number(values[option]);
    if (!Number.isFinite(value) || value < 0) throw new Error(`--${option} takes a number, not ${values[option]}`);
    changes[field] = value;
  }
  if (values["latency"] !== undefined) changes["latency"] = rangeOf(String(values["latency"]));
  if (values["faults"] !== undefined) changes["faults"] = faultsOf(String(values["faults"]));
  if (values["split"] === true) changes["split"] = true;
  return { ...base, ...changes };
}

function faultsOf(list: string): FaultKind[] {
  return list.split(",").map(word => {
    const kind = FAULT_KINDS.find(known => known === word);
    if (kind === undefined) throw new Error(`no fault is called ${word}: ${FAULT_KINDS.join(", ")}`);
    return kind;
  });
}

function rangeOf(text: string): readonly [number, number] {
  const [low = Number.NaN, high = low] = text.split("..").map(Number);
  if (!Number.isFinite(low) || !Number.isFinite(high) || low > high)
    throw new Error(`${text} is no range such as 10..100`);
  return [low, high];
}

function playOne(scenario: Scenario, argv: readonly string[]): number {
  const run = new Run(scenario);
  const started = performance.now();
  run.gather();
  const gathered = performance.now();
  const report = run.talk();
  const ended = performance.now();
  // By the clock on the wall: the only figures that are not the same in every run.
  const real = {
    joinSeconds: Math.round(gathered - started) / 1000,
    talkSeconds: Math.round(ended - gathered) / 1000,
    eventsPerSecond: Math.round((report.events / (ended - started)) * 1000),
  };
  process.stdout.write(`${JSON.stringify({ ...report, real }, undefined, 2)}\n`);
  if (report.violations.length === 0) return 0;
  process.stderr.write(`broken: seed ${scenario.seed}; again: ${replay(scenario.seed, argv)}\n`);
  return 1;
}

/** Plays every seed; the members vary with it, so that small and odd rooms are among them. */
function sweep(scenario: Scenario, [first, last]: readonly [number, number], argv: readonly string[]): number {
  const started = performance.now();
  const reports: Report[] = [];
  let broken = 0;
  for (let seed = first; seed <= last; seed += 1) {
    const report = new Run({ ...scenario, seed }).play();
    reports.push(report);
    if (report.violations.length === 0) continue;
    broken += 1;
    process.stdout.write(`${JSON.stringify({ seed, violations: report.violations.slice(0, 3) })}\n`);
    process.stdout.write(`again: ${replay(seed, argv)}\n`);
  }
  const converged = reports.map(({ convergedMs }) => convergedMs).sort((a, b) => a - b);
  const at = (part: number) => converged[Math.min(converged.length - 1, Math.floor(converged.length * part))] ?? 0;
  const summary = {
    worlds: reports.length,
    broken,
    texts: reports.reduce((sum, { texts }) => sum + texts, 0),
    convergedMs: { median: at(0.5), p99: at(0.99), max: at(1) },
    seconds: Math.round((performance.now() - started) / 1000),
  };
  process.stdout.write(`${JSON.stringify(summary)}\n`);
  return broken === 0 ? 0 : 1;
}

function replay(seed: number, argv: readonly string[]): string {
  const rest = argv.filter((word, index) => {
    const isSeedOption = (text: string | undefined) => text === "--seed" || text === "--seeds";
    return !isSeedOption(word) && !isSeedOption(argv[index - 1]);
  });
  return ["bun run sim --", ...rest, `--seed ${seed}`].join(" ");
}

try {
  process.exitCode = main(Bun.argv.slice(2));
} catch (error) {
  process.stderr.write(`sim: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 2;
}
