/**
 * What a text and a member cost as the room grows: real nodes on loopback, beside the simulator's figures for the same room.
 *
 * Above eight, several members share a process, since a machine of two cores has no use for a hundred; each has its own
 * sockets and links all the same. Talk is as in `bun run growth`: up to ten speakers, ten texts of 20 bytes a second. What
 * goes on anyway is measured first and taken off.
 */
import { join } from "node:path";
import { plotOf } from "../../plot.ts";
import type { GrowthRow } from "../../sim/growth.ts";
import type { Look, VillageQuestions } from "../actors/village.ts";
import { type Case, figureOf, missing, type Options, type Row } from "../measure.ts";
import { Actor, BENCH, cpuMsOf, memoryOf } from "../processes.ts";

const SIZES = [2, 8, 32, 100] as const;
const PROCESSES_MAX = 8;
const SPEAKERS = 10;
const TEXT = "x".repeat(20);
const TEXT_EVERY_MS = 100;
const WARM_UP_TEXTS = 50;
const TEXTS = 100;
/** What was said last has been told in all rounds of `have` by then. */
const CALM_MS = 6_000;
const IDLE_MS = 15_000;
const POLL_MS = 250;
/** Everybody knows everybody: so long after that the mesh has thinned out, and what newcomers caused is told. */
const SETTLE_MS = 30_000;
const JOIN_MAX_MS = 60_000;

/** By member, but for what sockets add. */
interface Cost extends Pick<GrowthRow, "members" | "textBytes" | "textFrames" | "idleBytes" | "links"> {
  /** CPU time of all processes, µs for each text that somebody got. */
  readonly deliveryUs?: number;
  /** KiB for each member, where several share a process. */
  readonly memory?: number;
}

type Village = Actor<VillageQuestions>;

async function real(members: number): Promise<Cost> {
  const starting = Array.from({ length: Math.min(members, PROCESSES_MAX) }, () =>
    Actor.start<VillageQuestions>(join(BENCH, "actors/village.ts")),
  );
  const villages = await Promise.all(starting);
  const home = (index: number) => villages[index % villages.length] as Village;
  try {
    let port: number | undefined;
    for (let index = 0; index < members; index += 1) {
      const opened = await home(index).ask("open", { name: `Member${index}`, ...(port !== undefined && { port }) });
      port ??= opened.port;
    }
    const settled = await untilSettled(villages, members);
    const idle = await during(villages, () => Bun.sleep(IDLE_MS));
    const talk = async (texts: number) => {
      for (let text = 0; text < texts; text += 1) {
        const speaker = text % Math.min(members, SPEAKERS);
        await home(speaker).ask("say", { member: Math.floor(speaker / villages.length), text: TEXT });
        await Bun.sleep(TEXT_EVERY_MS);
      }
      await Bun.sleep(CALM_MS);
    };
    await talk(WARM_UP_TEXTS);
    const said = await during(villages, () => talk(TEXTS));
    const deliveries = TEXTS * (members - 1);
    if (said.heard !== deliveries) throw new Error(`${said.heard} texts came, not ${deliveries}`);
    const idleShare = said.seconds / idle.seconds;
    const memory = villages.reduce((sum, { pid }) => sum + memoryOf(pid).rss, 0);
    return {
      members,
      textBytes: (said.bytes - idle.bytes * idleShare) / TEXTS / members,
      textFrames: (said.frames - idle.frames * idleShare) / TEXTS / members,
      idleBytes: idle.bytes / idle.seconds / members,
      links: settled.links / members,
      deliveryUs: ((said.cpuMs - idle.cpuMs * idleShare) * 1000) / deliveries,
      memory: memory / members,
    };
  } finally {
    await Promise.all(villages.map(village => village.end()));
  }
}

async function look(villages: readonly Village[]): Promise<Look> {
  const looks = await Promise.all(villages.map(village => village.ask("look", undefined)));
  const total = (field: "frames" | "bytes" | "heard" | "links") => looks.reduce((sum, one) => sum + one[field], 0);
  return {
    ...{ frames: total("frames"), bytes: total("bytes"), heard: total("heard"), links: total("links") },
    present: Math.min(...looks.map(one => one.present)),
  };
}

async function untilSettled(villages: readonly Village[], members: number): Promise<Look> {
  const deadline = performance.now() + JOIN_MAX_MS;
  while ((await look(villages)).present < members) {
    if (performance.now() > deadline) throw new Error(`not all of ${members} know each other`);
    await Bun.sleep(POLL_MS);
  }
  await Bun.sleep(SETTLE_MS);
  return look(villages);
}

async function during(villages: readonly Village[], act: () => Promise<unknown>) {
  const cpu = () => villages.reduce((sum, { pid }) => sum + cpuMsOf(pid), 0);
  const [before, cpuBefore, startedAt] = [await look(villages), cpu(), performance.now()];
  await act();
  const [seconds, cpuMs, after] = [(performance.now() - startedAt) / 1000, cpu() - cpuBefore, await look(villages)];
  const more = (field: "frames" | "bytes" | "heard") => after[field] - before[field];
  return { frames: more("frames"), bytes: more("bytes"), heard: more("heard"), seconds, cpuMs };
}

/** The same room in virtual time, by `bun run growth`. */
async function simulated(members: number): Promise<Cost> {
  const script = join(BENCH, "../sim/growth.ts");
  const child = Bun.spawn([process.execPath, script, "--one", String(members)], { stdout: "pipe", stderr: "inherit" });
  const text = await child.stdout.text();
  if ((await child.exited) !== 0) throw new Error(`the simulator did not play a room of ${members}`);
  return JSON.parse(text) as Cost;
}

const FIGURES = [
  { title: "A text", what: "bytes a text and member", unit: "bytes a member", figure: "textBytes" },
  { title: "A text", what: "frames a text and member", unit: "frames a member", figure: "textFrames" },
  { title: "A delivery", what: "CPU for each delivery, ten texts a second, µs", unit: "µs", figure: "deliveryUs" },
  {
    title: "Nobody talks",
    what: "idle, bytes a second and member",
    unit: "bytes a second and member",
    figure: "idleBytes",
  },
  { title: "Links", what: "links", unit: "a member", figure: "links" },
  { title: "Memory", what: "RSS for each member, KiB", unit: "KiB a member", figure: "memory" },
] as const;

export const growthCase: Case = {
  name: "growth",
  title: "As the room grows, real nodes; several in a process above eight",
  async run({ svg }: Options): Promise<readonly Row[]> {
    const rooms: { readonly ours: Cost; readonly sim: Cost }[] = [];
    for (const size of SIZES) rooms.push({ ours: await real(size), sim: await simulated(size) });
    const line = (label: string, costs: readonly Cost[], figure: (typeof FIGURES)[number]["figure"]) => ({
      label,
      points: costs.map(cost => ({ members: cost.members, value: cost[figure] ?? 0 })).filter(({ value }) => value > 0),
    });
    if (svg !== undefined)
      await Bun.write(
        svg,
        plotOf(
          "What a member costs as the room grows, real nodes on loopback",
          FIGURES.map(({ title, unit, figure }) => {
            const ours = rooms.map(room => room.ours);
            const sims = line(
              "simulated",
              rooms.map(room => room.sim),
              figure,
            );
            return { title, unit, lines: [line("real", ours, figure), ...(sims.points.length > 0 ? [sims] : [])] };
          }),
        ),
      );
    return FIGURES.flatMap(({ what, figure }) =>
      rooms.map(({ ours, sim }): Row => {
        const of = (cost: Cost) =>
          cost[figure] === undefined ? missing("it has no sockets") : figureOf([cost[figure]]);
        const shown = `${ours.members} members: ${what}`;
        const beside = sim[figure] === undefined ? "nothing" : "the simulator";
        return { case: "growth", what: shown, unit: "", ours: of(ours), beside, limit: of(sim) };
      }),
    );
  },
};
