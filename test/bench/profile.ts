/**
 * `bun test/bench/profile.ts [directory]`: where the time goes on the three hottest paths, by `bun --cpu-prof`.
 *
 * Prints self time by function, speakers and hearers apart. Time in which a process waited counts for the sample after it, so
 * shares say most where it was busy all the time. The profiles stay in the directory, if one is given.
 */
import { mkdirSync, readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { endAll, scratchDirectory } from "./processes.ts";
import { type Cast, firstOf, flood, inRoom, OURS, OURS_STORED } from "./rooms.ts";

interface ProfileNode {
  readonly id: number;
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
}

interface Profile {
  readonly nodes: readonly ProfileNode[];
  readonly samples: readonly number[];
  /** µs. */
  readonly timeDeltas: readonly number[];
}

const SHOWN = 22;
const directory = process.argv[2] ?? scratchDirectory("profiles");

/** Self time of each function, ms, the largest first. */
async function selfTimes(path: string): Promise<{ readonly totalMs: number; readonly functions: [string, number][] }> {
  const { nodes, samples, timeDeltas } = (await Bun.file(path).json()) as Profile;
  const names = new Map(
    nodes.map(({ id, callFrame: { functionName, url, lineNumber } }) => {
      const where = url === "" ? "native" : `${basename(url)}:${lineNumber + 1}`;
      return [id, `${functionName === "" ? "(anonymous)" : functionName} (${where})`];
    }),
  );
  const times = new Map<string, number>();
  let totalMs = 0;
  for (const [index, id] of samples.entries()) {
    const name = names.get(id) ?? "?";
    const ms = (timeDeltas[index] ?? 0) / 1000;
    totalMs += ms;
    times.set(name, (times.get(name) ?? 0) + ms);
  }
  return { totalMs, functions: [...times].sort((a, b) => b[1] - a[1]) };
}

async function profiled(title: string, contender: typeof OURS, size: number, work: (cast: Cast) => Promise<unknown>) {
  const into = join(directory, title.replaceAll(/[^a-z0-9]+/gi, "-"));
  mkdirSync(into, { recursive: true });
  const options = (name: string) => `--cpu-prof --cpu-prof-dir=${into} --cpu-prof-name=${name}.cpuprofile`;
  await inRoom(
    contender,
    size,
    async cast => {
      await work(cast);
      await Promise.all(cast.members.map(member => member.quit()));
    },
    name => ({ BUN_OPTIONS: options(name) }),
  );
  for (const file of readdirSync(into)
    .filter(name => /^Member[01]\./.test(name))
    .sort()) {
    const { totalMs, functions } = await selfTimes(join(into, file));
    console.log(`\n## ${title}, ${basename(file, ".cpuprofile")} (${Math.round(totalMs)} ms)\n`);
    for (const [name, ms] of functions.slice(0, SHOWN))
      console.log(`${((ms / totalMs) * 100).toFixed(1).padStart(6)} %  ${name}`);
  }
}

try {
  await profiled("one speaker", OURS, 2, cast => flood(cast, [firstOf(cast)], { texts: 1_500_000 }));
  await profiled("one speaker, stored", OURS_STORED, 2, cast => flood(cast, [firstOf(cast)], { texts: 1_000_000 }));
  await profiled("single posts", OURS, 2, cast => flood(cast, [firstOf(cast)], { texts: 40_000, perTurn: 1 }));
  await profiled("eight, all to all", OURS, 8, cast => flood(cast, cast.members, { texts: 60_000 }));
  await profiled("64 KiB texts", OURS, 2, cast =>
    flood(cast, [firstOf(cast)], { texts: 4_000, bytes: 65_536, perTurn: 1 }),
  );
} finally {
  await endAll();
}
