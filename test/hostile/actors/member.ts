/**
 * An honest member as a process of its own: does what its parent says by IPC, and tells what it has heard and what it keeps.
 */
import { Chat } from "../../../lib/chat.ts";

export type Command =
  | { readonly do: "open"; readonly name: string; readonly port?: number }
  /** Says so many texts, one each `everyMs`. */
  | { readonly do: "talk"; readonly count: number; readonly everyMs: number }
  /** Answers once so many texts of each of these have been heard. */
  | { readonly do: "await"; readonly heard: Readonly<Record<string, number>> }
  /** Hands over the delays since it was last asked. */
  | { readonly do: "report" }
  | { readonly do: "leave" };

/** What a node keeps, in numbers. */
export interface Kept {
  readonly sockets: number;
  readonly links: number;
  readonly dials: number;
  readonly sessions: number;
  readonly members: number;
  readonly posts: number;
  readonly aheadBytes: number;
  readonly rssBytes: number;
}

export interface Report {
  /** From the author's `say` to our listener, ms. */
  readonly delaysMs: number[];
  readonly kept: Kept;
  /** Longest time that the event loop was away, ms. */
  readonly stallMs: number;
  /** Share of a core that this process used since it was last asked, all its threads together. */
  readonly cpu: number;
  /** Texts heard more than once, or out of their author's order. */
  readonly wrong: string[];
}

/** What is private to a chat, for looking only. */
interface Inside {
  readonly transport: { readonly sockets: ReadonlySet<unknown>; readonly dials: ReadonlyMap<number, unknown> };
  readonly node: {
    readonly log: { readonly sessions: number; readonly posts: number; readonly aheadBytes: number };
    readonly members: { all(): Iterable<unknown> };
    readonly context: { readonly peers: ReadonlyMap<number, unknown> };
  };
}

const clock = () => performance.timeOrigin + performance.now();
const heard = new Map<string, number>();
const wrong: string[] = [];
let delaysMs: number[] = [];
let chat: Chat | undefined;
let said = 0;
let waiting: { readonly for: Readonly<Record<string, number>>; readonly done: () => void } | undefined;

let [cpuAt, cpuUsed] = [performance.now(), process.cpuUsage()];

/** Since it was last asked. */
function cpuShare(): number {
  const { user, system } = process.cpuUsage(cpuUsed);
  const share = (user + system) / 1_000 / (performance.now() - cpuAt);
  [cpuAt, cpuUsed] = [performance.now(), process.cpuUsage()];
  return share;
}

let stallMs = 0;
let beat = performance.now();
setInterval(() => {
  const now = performance.now();
  stallMs = Math.max(stallMs, now - beat - 10);
  beat = now;
}, 10).unref();

/** Texts of honest members are "<name> <number> <time>"; whatever else is said here is not for us. */
function hear(text: string): void {
  const [, name, number, time] = /^(Ann|Ben|Cat) (\d+) ([\d.]+)$/.exec(text) ?? [];
  if (name === undefined) return;
  const next = heard.get(name) ?? 0;
  if (Number(number) !== next) wrong.push(`${text} after ${next}`);
  heard.set(name, Number(number) + 1);
  delaysMs.push(clock() - Number(time));
  look();
}

function look(): void {
  if (waiting === undefined) return;
  if (Object.entries(waiting.for).some(([name, count]) => (heard.get(name) ?? 0) < count)) return;
  waiting.done();
  waiting = undefined;
}

function kept(of: Chat): Kept {
  const { transport, node } = of as unknown as Inside;
  return {
    sockets: transport.sockets.size,
    links: node.context.peers.size,
    dials: transport.dials.size,
    sessions: node.log.sessions,
    members: [...node.members.all()].length,
    posts: node.log.posts,
    aheadBytes: node.log.aheadBytes,
    rssBytes: process.memoryUsage.rss(),
  };
}

async function obey(command: Command): Promise<unknown> {
  switch (command.do) {
    case "open": {
      const { name, port } = command;
      const dial = port === undefined ? {} : { dial: { host: "127.0.0.1", port } };
      chat = await Chat.open({ name, host: "127.0.0.1", ...dial });
      chat.subscribe(events => {
        for (const event of events) if (event.event === "message" && !event.own) hear(event.text);
      });
      return chat.listensAt;
    }
    case "talk": {
      const { promise, resolve } = Promise.withResolvers<void>();
      let left = command.count;
      const timer = setInterval(() => {
        chat?.say(`${chat.name} ${said++} ${clock()}`);
        if (--left > 0) return;
        clearInterval(timer);
        resolve();
      }, command.everyMs);
      await promise;
      return said;
    }
    case "await": {
      const { promise, resolve } = Promise.withResolvers<void>();
      waiting = { for: command.heard, done: resolve };
      look();
      await promise;
      return undefined;
    }
    case "report": {
      if (chat === undefined) throw new Error("not open");
      const report: Report = { delaysMs, kept: kept(chat), stallMs, cpu: cpuShare(), wrong };
      delaysMs = [];
      stallMs = 0;
      return report;
    }
    case "leave":
      await chat?.leave();
      return undefined;
  }
}

process.on("message", ({ id, command }: { id: number; command: Command }) => {
  obey(command).then(
    answer => process.send?.({ id, answer }),
    error => process.send?.({ id, error: String(error) }),
  );
});
process.on("disconnect", () => process.exit());
