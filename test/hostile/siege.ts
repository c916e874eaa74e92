/**
 * A siege: three honest members chat, each in a process of its own, while two more do to one each all that attacks.ts has.
 *
 * Every text must arrive, once and in order, and what is kept must stay within limits.ts. Times and memory are printed, not
 * judged: they are the machine's as much as ours.
 */
import { join } from "node:path";
import type { Orders } from "./actors/attacker.ts";
import type { Report } from "./actors/member.ts";
import type { Tally } from "./attacks.ts";
import { Honest } from "./honest.ts";

const ATTACKER = join(import.meta.dir, "actors", "attacker.ts");
const NAMES = ["Ann", "Ben", "Cat"] as const;
/** Until their code is compiled: the first texts take several times as long as all later ones. */
const WARM_TEXTS = 80;
const QUIET_TEXTS = 160;
/** Of the first second, in which all that is made use of what a newcomer may, and the code on their way is compiled; and after it. */
const ONSET_TEXTS = 40;
const SIEGE_TEXTS = 360;
const EVERY_MS = 25;
/** Each takes a descriptor here and one there. */
const IDLE_CONNECTIONS = 10_000;

function percentile(delaysMs: readonly number[], share: number): number {
  const sorted = delaysMs.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

export const figures = (reports: readonly Report[]) => {
  const delays = reports.flatMap(({ delaysMs }) => delaysMs);
  const [median, p99, max] = [percentile(delays, 0.5), percentile(delays, 0.99), Math.max(...delays)];
  const stall = Math.max(...reports.map(({ stallMs }) => stallMs));
  const cpu = reports.map(report => `${Math.round(report.cpu * 100)} %`).join(", ");
  return {
    median,
    p99,
    text: `median ${median.toFixed(1)} ms, p99 ${p99.toFixed(1)}, max ${max.toFixed(0)}, loop away ${stall.toFixed(0)}, CPU ${cpu}`,
  };
};

/** How many idle connections each of two processes may open. */
export async function idleConnections(): Promise<number> {
  const shell = await new Response(Bun.spawn(["sh", "-c", "ulimit -n"], { stdout: "pipe" }).stdout).text();
  const descriptors = shell.trim() === "unlimited" ? Number.POSITIVE_INFINITY : Number(shell);
  return Math.max(0, Math.min(IDLE_CONNECTIONS / 2, descriptors - 2_000));
}

/** What yields to members at once (sched(7), SCHED_IDLE): what attackers take of the cores is not for members to give back. */
const CHRT = Bun.which("chrt");
const LOWEST = CHRT === null ? ["nice", "-n", "19"] : [CHRT, "--idle", "0"];

/** On a busy machine whoever yields to all others would not get to its end. */
async function hurry(pid: number): Promise<void> {
  if (CHRT !== null) await Bun.spawn([CHRT, "--other", "--all-tasks", "--pid", "0", `${pid}`]).exited;
}

/** Begins at once; the answer ends it and tells what was done. */
function attackers(orders: Orders): () => Promise<Tally> {
  const { promise, resolve, reject } = Promise.withResolvers<Tally>();
  promise.catch(() => {});
  const child = Bun.spawn([...LOWEST, process.execPath, ATTACKER], {
    stdout: "inherit",
    stderr: "inherit",
    ipc: resolve,
    onExit: () => reject(new Error("the attackers have ended")),
  });
  child.send(orders);
  return async () => {
    child.send("over");
    await hurry(child.pid);
    const tally = await promise;
    child.kill("SIGKILL");
    await child.exited;
    return tally;
  };
}

export async function besieged(
  orders: Partial<Omit<Orders, "port">>,
): Promise<{ quiet: Report[]; onset: Report[]; siege: Report[]; after: Report[]; tally: Tally }> {
  const [ann, port] = await Honest.open("Ann");
  const [ben, benPort] = await Honest.open("Ben", port);
  const [cat] = await Honest.open("Cat", port);
  await using _ = new AsyncDisposableStack();
  const members = [ann, ben, cat];
  for (const member of members) _.use(member);
  const talk = async (count: number, total: number): Promise<Report[]> => {
    await Promise.all(members.map(member => member.tell({ do: "talk", count, everyMs: EVERY_MS })));
    await Promise.all(
      members.map(member => {
        const others = NAMES.filter(name => name !== member.name).map(name => [name, total]);
        return member.tell({ do: "await", heard: Object.fromEntries(others) });
      }),
    );
    return await Promise.all(members.map(member => member.report()));
  };
  let said = 0;
  const next = async (count: number) => {
    said += count;
    return await talk(count, said);
  };
  await next(WARM_TEXTS);
  const quiet = await next(QUIET_TEXTS);
  const ends = [port, benPort].map(victim => attackers({ attacks: [], idle: 0, loops: 0, ...orders, port: victim }));
  const onset = await next(ONSET_TEXTS);
  const siege = await next(SIEGE_TEXTS);
  const tallies = await Promise.all(ends.map(end => end()));
  const tally = tallies.reduce((a, b) => ({ connections: a.connections + b.connections, bytes: a.bytes + b.bytes }));
  const after = await next(20);
  return { quiet, onset, siege, after, tally };
}
