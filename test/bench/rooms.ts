/**
 * Rooms to measure: who takes part, how they come together, and what is done in all of them alike.
 */
import { join } from "node:path";
import type { RoomQuestions } from "./actors/room.ts";
import type { Goal, Measured, Row, Sample } from "./measure.ts";
import { quantile } from "./measure.ts";
import { Actor, BENCH, cpuMsOf, scratchDirectory } from "./processes.ts";

/** A server that the members meet at, for the contenders that need one. */
export interface Server {
  readonly port: number;
  readonly pid: number;
  end(): Promise<void>;
}

/** One way to make a room. */
export interface Contender {
  readonly name: string;
  /** The program of a member (actors/room.ts). */
  readonly script: string;
  readonly variant: string;
  /** Floods of the slow ones are shorter by this factor, so that all take about as long. */
  readonly share: number;
  serve?(): Promise<Server>;
}

export const OURS: Contender = { name: "p2pchat", script: join(BENCH, "actors/chat.ts"), variant: "", share: 1 };
export const OURS_STORED: Contender = { ...OURS, name: "p2pchat with store", variant: "stored" };
export const BARE_TLS: Contender = {
  name: "bare TLS mesh",
  script: join(BENCH, "actors/mesh.ts"),
  variant: "tls",
  share: 1,
};
export const BARE_TCP: Contender = { ...BARE_TLS, name: "bare TCP mesh", variant: "tcp" };

export type Member = Actor<RoomQuestions>;

export interface Cast {
  readonly members: readonly Member[];
  readonly server: Server | undefined;
}

/** What is said, in all rooms alike. */
export const LINE_BYTES = 100;
/** A pipe holds 64 KiB, line feeds included: so much is said within one turn. */
export const LINES_PER_TURN = 648;

/** Opens a room of `size` processes, each reaching all others, does `work` in it, and ends them all. */
export async function inRoom<T>(
  contender: Contender,
  size: number,
  work: (cast: Cast) => Promise<T>,
  environmentOf: (name: string) => Readonly<Record<string, string>> = () => ({}),
): Promise<T> {
  const server = await contender.serve?.();
  const names = Array.from({ length: size }, (_, index) => `Member${index}`);
  const starting = names.map(name => Actor.start<RoomQuestions>(contender.script, environmentOf(name)));
  const started = await Promise.allSettled(starting);
  const members = started.flatMap(result => (result.status === "fulfilled" ? [result.value] : []));
  try {
    const failure = started.find(result => result.status === "rejected");
    if (failure !== undefined) throw failure.reason;
    const ports = server === undefined ? [] : [server.port];
    for (const [index, member] of members.entries()) {
      const { variant } = contender;
      const data = variant === "stored" ? { data: scratchDirectory("history") } : {};
      const { port } = await member.ask("open", { name: names[index] ?? "", ports, variant, ...data });
      if (server === undefined) ports.push(port);
    }
    await Promise.all(members.map(member => member.ask("reach", { others: size - 1 })));
    return await work({ members, server });
  } finally {
    await Promise.all(members.map(member => member.end()));
    await server?.end();
  }
}

export interface Flood {
  /** Of each speaker. */
  readonly texts: number;
  readonly bytes?: number;
  readonly perTurn?: number;
  /** Those who hear it; all if absent. */
  readonly hearers?: readonly Member[];
}

export interface FloodResult {
  /** Texts that each hearer got, a second. */
  readonly perSecond: number;
  /** Texts that all hearers together got, a second. */
  readonly deliveredPerSecond: number;
  /** Of all processes together, µs for each text that somebody got. */
  readonly cpuPerDeliveryUs: number;
}

/** `speakers` talk at full speed, from the first text until the last hearer has the last of it. */
export async function flood(cast: Cast, speakers: readonly Member[], request: Flood): Promise<FloodResult> {
  const { texts, bytes = LINE_BYTES, perTurn = LINES_PER_TURN, hearers = cast.members } = request;
  const expected = (member: Member) => texts * (speakers.length - (speakers.includes(member) ? 1 : 0));
  const hearing = hearers.filter(member => expected(member) > 0);
  const silent = speakers.filter(speaker => !hearing.includes(speaker));
  const deliveries = hearing.reduce((sum, member) => sum + expected(member), 0);
  await Promise.all(
    hearing.map(member => member.ask("arm", { texts: expected(member), bytes: expected(member) * bytes })),
  );
  const watched = [...silent.map(member => member.pid), ...(cast.server === undefined ? [] : [cast.server.pid])];
  const cpuBefore = sum(watched.map(cpuMsOf));
  const done = hearing.map(member => member.ask("done", undefined));
  // Told where it is awaited; a failure before that is not unhandled.
  for (const answer of done) answer.catch(() => {});
  const started = await Promise.all(speakers.map(member => member.ask("flood", { texts, bytes, perTurn })));
  const ends = await Promise.all(done);
  const cpuMs = sum(watched.map(cpuMsOf)) - cpuBefore + sum(ends.map(end => end.cpuMs));
  const elapsedMs = Math.max(...ends.map(end => end.at)) - Math.min(...started.map(start => start.startedAt));
  const deliveredPerSecond = (deliveries / elapsedMs) * 1000;
  return {
    perSecond: deliveredPerSecond / hearing.length,
    deliveredPerSecond,
    cpuPerDeliveryUs: (cpuMs * 1000) / deliveries,
  };
}

/** Texts at a steady pace over the whole room, by turns; how long they were under way, ms, by each hearer. */
export async function paced(
  cast: Cast,
  speakers: readonly Member[],
  { texts, perSecond }: { readonly texts: number; readonly perSecond: number },
): Promise<readonly (readonly number[])[]> {
  const everyMs = (1000 / perSecond) * speakers.length;
  const each = Math.ceil(texts / speakers.length);
  const expected = (member: Member) => each * (speakers.length - (speakers.includes(member) ? 1 : 0));
  const hearing = cast.members.filter(member => expected(member) > 0);
  await Promise.all(hearing.map(member => member.ask("delays", undefined)));
  await Promise.all(
    hearing.map(member => member.ask("arm", { texts: expected(member), bytes: expected(member) * LINE_BYTES })),
  );
  const done = hearing.map(member => member.ask("done", undefined));
  for (const answer of done) answer.catch(() => {});
  const saying = speakers.map((member, index) =>
    member.ask("pace", { texts: each, everyMs, afterMs: (index * everyMs) / speakers.length }),
  );
  await Promise.all([...saying, ...done]);
  return Promise.all(hearing.map(member => member.ask("delays", undefined)));
}

/** For `interleaved`: the same for all. */
export function each(
  contenders: readonly Contender[],
  measure: (contender: Contender) => Promise<Sample>,
): Readonly<Record<string, () => Promise<Sample>>> {
  return Object.fromEntries(contenders.map(contender => [contender.name, () => measure(contender)]));
}

/** p50 and p99 of ms, in µs. */
export function percentiles(timesMs: readonly number[]): { readonly p50: number; readonly p99: number } {
  return { p50: quantile(timesMs, 0.5) * 1000, p99: quantile(timesMs, 0.99) * 1000 };
}

/** The one who opened the room. */
export function firstOf(cast: Cast): Member {
  const [first] = cast.members;
  if (first === undefined) throw new Error("an empty room");
  return first;
}

export interface RowRequest {
  readonly case: string;
  readonly what: string;
  readonly unit: string;
  /** Which figure of the samples. */
  readonly figure: string;
  readonly goal?: Goal;
  readonly ours?: Contender;
  readonly beside?: Contender;
  /** For the columns of the peers. */
  readonly others?: readonly Contender[];
}

/** A line of ours beside the bare TLS mesh, unless told otherwise. */
export function roomRow(measured: Measured, request: RowRequest): Row {
  const { what, unit, figure, goal, ours = OURS, beside = BARE_TLS, others = [] } = request;
  return {
    case: request.case,
    what,
    unit,
    ours: measured.figure(ours.name, figure),
    beside: beside.name,
    limit: measured.figure(beside.name, figure),
    ...(goal !== undefined && { goal }),
    ...(others.length > 0 && {
      others: Object.fromEntries(others.map(other => [other.name, measured.figure(other.name, figure)])),
    }),
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
