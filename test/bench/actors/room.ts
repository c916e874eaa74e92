/**
 * One member of a room as a process of its own, whatever the room is made of: p2pchat, bare sockets, a peer's program.
 *
 * The adapters (chat.ts, mesh.ts, ../peers/*) only say and hear; what is said, when, and how it is timed is here, so that
 * every contender does the same work. A text is ASCII and its first character tells what it is for.
 */
import { answerWith, clockMs } from "./ipc.ts";

/** One member, as an adapter offers it. */
export interface Room {
  /** Where others join; 0 where there is a server for that. */
  readonly port: number;
  say(text: string): void;
  /** Resolves when more may be said. */
  ready(): Promise<void>;
  /** Whether what is said from now on reaches so many others. */
  reaches(others: number): boolean;
  close(): Promise<void>;
}

export interface OpenRequest {
  readonly name: string;
  /** Ports of the members that are there, the oldest first, or of the server. */
  readonly ports: readonly number[];
  /** A directory to keep history in, for those who can. */
  readonly data?: string;
  /** What the contender is to be told. */
  readonly variant: string;
}

export type OpenRoom = (request: OpenRequest, hear: (texts: readonly string[]) => void) => Promise<Room>;

export interface FloodRequest {
  readonly texts: number;
  readonly bytes: number;
  /** Texts said within one turn of the loop. */
  readonly perTurn: number;
}

export type RoomQuestions = {
  readonly open: { readonly ask: OpenRequest; readonly answer: { readonly port: number } };
  readonly reach: { readonly ask: { readonly others: number }; readonly answer: undefined };
  /** From here on texts, bytes and CPU time are counted. */
  readonly arm: { readonly ask: { readonly texts: number; readonly bytes: number }; readonly answer: undefined };
  /** Answers when all that was armed for is there, and says when the last of it came. */
  readonly done: { readonly ask: undefined; readonly answer: { readonly at: number; readonly cpuMs: number } };
  readonly flood: { readonly ask: FloodRequest; readonly answer: { readonly startedAt: number } };
  /** Says stamped texts at a steady pace. */
  readonly pace: {
    readonly ask: { readonly texts: number; readonly everyMs: number; readonly afterMs: number };
    readonly answer: undefined;
  };
  /** Ends `pace` early. */
  readonly hush: { readonly ask: undefined; readonly answer: undefined };
  /** How long stamped texts were under way, ms, since it was asked last. */
  readonly delays: { readonly ask: undefined; readonly answer: readonly number[] };
  /** The same, once so many of them have come. */
  readonly stamped: { readonly ask: { readonly texts: number }; readonly answer: readonly number[] };
  /** A text there and an answer back, ms, one after the other. */
  readonly echo: {
    /** Ends after so many, or so much time. */
    readonly ask: { readonly count: number; readonly forMs: number };
    readonly answer: readonly number[];
  };
  readonly close: { readonly ask: undefined; readonly answer: undefined };
};

const FLOOD = "f";
const STAMP = "t";
const CALL = "c";
const REPLY = "r";
/** Of a stamped text, a call or a reply. */
const TEXT_BYTES = 100;
const REACH_POLL_MS = 5;

interface Armed {
  readonly texts: number;
  readonly bytes: number;
  readonly cpuMs: number;
  readonly done: PromiseWithResolvers<{ readonly at: number; readonly cpuMs: number }>;
}

/** Makes this process a member; what the bench asks for is done with `openRoom`. */
export async function runMember(openRoom: OpenRoom): Promise<void> {
  const [flag, variant = "", port] = process.argv.slice(2);
  if (flag === "--first-text") await tellFirstText(openRoom, variant, Number(port));
  else serve(openRoom);
}

/** For the start-up case: joins, and prints a line when the first text is there. */
async function tellFirstText(openRoom: OpenRoom, variant: string, port: number): Promise<void> {
  const first = Promise.withResolvers<void>();
  // A name of its own each time: those before it were killed, and their names are not free yet.
  await openRoom({ name: `Newcomer${process.pid}`, ports: [port], variant }, texts => {
    if (texts.length > 0) first.resolve();
  });
  await first.promise;
  await Bun.write(Bun.stdout, "text\n");
}

function serve(openRoom: OpenRoom): void {
  let room: Room | undefined;
  let armed: Armed | undefined;
  let texts = 0;
  let bytes = 0;
  let delays: number[] = [];
  let awaited: { readonly texts: number; readonly come: () => void } | undefined;
  let hushed = false;
  let replied: (() => void) | undefined;
  const member = (): Room => {
    if (room === undefined) throw new Error("not open");
    return room;
  };

  const hear = (heard: readonly string[]) => {
    for (const text of heard) {
      texts += 1;
      bytes += text.length;
      const kind = text.charAt(0);
      if (kind === STAMP) {
        delays.push(clockMs() - Number(text.slice(1, text.indexOf(" "))));
        if (awaited !== undefined && delays.length >= awaited.texts) awaited.come();
      }
      if (kind === CALL) member().say(REPLY + text.slice(1));
      else if (kind === REPLY) replied?.();
    }
    if (armed === undefined || texts < armed.texts) return;
    const { done, cpuMs } = armed;
    const expected = armed;
    armed = undefined;
    if (texts === expected.texts && bytes === expected.bytes)
      done.resolve({ at: clockMs(), cpuMs: cpuMsUsed() - cpuMs });
    else
      done.reject(new Error(`${texts} texts with ${bytes} bytes came, not ${expected.texts} with ${expected.bytes}`));
  };

  const takeDelays = () => {
    const taken = delays;
    delays = [];
    return taken;
  };

  let pending: Armed["done"] | undefined;
  answerWith<RoomQuestions>({
    open: async request => {
      room = await openRoom(request, hear);
      return { port: room.port };
    },
    reach: async ({ others }) => {
      while (!member().reaches(others)) await Bun.sleep(REACH_POLL_MS);
    },
    arm: request => {
      texts = 0;
      bytes = 0;
      pending = Promise.withResolvers();
      // Told where `done` is asked; a failure before that is not unhandled.
      pending.promise.catch(() => {});
      armed = { ...request, cpuMs: cpuMsUsed(), done: pending };
    },
    done: async () => {
      if (pending === undefined) throw new Error("not armed");
      return pending.promise;
    },
    flood: request => flood(member(), request),
    pace: async request => {
      hushed = false;
      await pace(member(), request, () => hushed);
    },
    hush: () => {
      hushed = true;
    },
    delays: takeDelays,
    stamped: async ({ texts: count }) => {
      const come = Promise.withResolvers<void>();
      awaited = { texts: count, come: come.resolve };
      if (delays.length >= count) come.resolve();
      await come.promise;
      awaited = undefined;
      return takeDelays();
    },
    echo: async ({ count, forMs }) => {
      const roundTrips: number[] = [];
      const end = performance.now() + forMs;
      for (let i = 0; i < count && performance.now() < end; i += 1) {
        const reply = Promise.withResolvers<void>();
        replied = reply.resolve;
        const start = performance.now();
        member().say(padded(CALL, i));
        await reply.promise;
        roundTrips.push(performance.now() - start);
      }
      return roundTrips;
    },
    close: async () => {
      await room?.close();
    },
  });
}

async function flood(room: Room, { texts, bytes, perTurn }: FloodRequest): Promise<{ startedAt: number }> {
  const filler = ".".repeat(Math.max(0, bytes - 8));
  const startedAt = clockMs();
  for (let said = 0; said < texts; ) {
    const end = Math.min(texts, said + perTurn);
    for (; said < end; said += 1) room.say(FLOOD + String(said).padStart(7, "0") + filler);
    await room.ready();
    await turn();
  }
  return { startedAt };
}

/** The nth text is said at its own time, however late the one before it was. */
async function pace(
  room: Room,
  { texts, everyMs, afterMs }: RoomQuestions["pace"]["ask"],
  isOver: () => boolean,
): Promise<void> {
  const start = performance.now() + afterMs;
  for (let i = 0; i < texts && !isOver(); i += 1) {
    await Bun.sleep(Math.max(0, start + i * everyMs - performance.now()));
    room.say(padded(STAMP, clockMs()));
  }
}

function padded(kind: string, value: number): string {
  return `${kind}${value} `.padEnd(TEXT_BYTES, ".");
}

function turn(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve));
}

function cpuMsUsed(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
