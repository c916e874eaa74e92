/**
 * Two processes: how fast a line is there, how many a second, and what one post costs when nothing can be bundled.
 */
import { type CryptoQuestions, SIGNED_BYTES } from "../actors/crypto.ts";
import { type Case, figureOf, interleaved, type Options, type Row, type Sample } from "../measure.ts";
import { peersFor } from "../peers.ts";
import { Actor, BENCH } from "../processes.ts";
import {
  BARE_TCP,
  BARE_TLS,
  type Cast,
  type Contender,
  each,
  type Flood,
  type FloodResult,
  firstOf,
  flood,
  inRoom,
  OURS,
  OURS_STORED,
  paced,
  percentiles,
  roomRow,
} from "../rooms.ts";
import { rawStream } from "./raw.ts";

const LINES = 600_000;
/** Floods, until so many in a row were no quicker than the quickest before them, or so many have been. */
const MISSES = 2;
const WARM_UPS_MAX = 12;
const ROUND_TRIPS = 1_000;
/** Until what a text runs is compiled by its last tier. */
const WARM_UP_ROUND_TRIPS = 20_000;
/** Some servers take 40 ms for each (Nagle's algorithm). */
const ECHO_MAX_MS = 2_000;
const PACED_TEXTS = 200;
const PACED_PER_SECOND = 100;
const SINGLE_POSTS = 20_000;
const WARM_UP_POSTS = 10_000;
const BIG_TEXT_BYTES = 64 * 1024;
const BIG_TEXTS = 4_000;
const STREAM_BYTES = 256 * 1024 * 1024;

/** The first speaks: how it goes at once, and once all is compiled by its last tier and memory goes round. */
async function fullSpeed(
  cast: Cast,
  request: Flood,
): Promise<{ readonly fresh: FloodResult; readonly warm: FloodResult }> {
  const once = () => flood(cast, [firstOf(cast)], request);
  const fresh = await once();
  let [best, missed] = [fresh.perSecond, 0];
  for (let count = 1; count < WARM_UPS_MAX && missed < MISSES; count += 1) {
    const { perSecond } = await once();
    missed = perSecond > best ? 0 : missed + 1;
    best = Math.max(best, perSecond);
  }
  return { fresh, warm: await once() };
}

async function speed(contender: Contender): Promise<Sample> {
  return inRoom(contender, 2, async cast => {
    const { fresh, warm } = await fullSpeed(cast, { texts: Math.ceil(LINES * contender.share) });
    const { perSecond, cpuPerDeliveryUs } = warm;
    return { perSecond, cpuPerDeliveryUs, freshPerSecond: fresh.perSecond };
  });
}

async function delay(contender: Contender): Promise<Sample> {
  return inRoom(contender, 2, async cast => {
    const speaker = firstOf(cast);
    const oneWay = async () => {
      const [heard = []] = await paced(cast, [speaker], { texts: PACED_TEXTS, perSecond: PACED_PER_SECOND });
      return percentiles(heard);
    };
    const fresh = await oneWay();
    await speaker.ask("echo", { count: WARM_UP_ROUND_TRIPS, forMs: ECHO_MAX_MS });
    const trip = percentiles(await speaker.ask("echo", { count: ROUND_TRIPS, forMs: ECHO_MAX_MS }));
    return { tripP50: trip.p50, tripP99: trip.p99, freshP50: fresh.p50, freshP99: fresh.p99, ...(await oneWay()) };
  });
}

async function bigTexts(): Promise<Sample> {
  return inRoom(OURS, 2, async cast => {
    const { fresh, warm } = await fullSpeed(cast, { texts: BIG_TEXTS, bytes: BIG_TEXT_BYTES, perTurn: 1 });
    const megabytes = ({ perSecond }: FloodResult) => (perSecond * BIG_TEXT_BYTES) / 1e6;
    return { megabytes: megabytes(warm), freshMegabytes: megabytes(fresh) };
  });
}

async function singlePosts(): Promise<Sample> {
  return inRoom(OURS, 2, async cast => {
    await flood(cast, [firstOf(cast)], { texts: WARM_UP_POSTS, perTurn: 1 });
    const { perSecond } = await flood(cast, [firstOf(cast)], { texts: SINGLE_POSTS, perTurn: 1 });
    return { perSecond };
  });
}

/** One process signs, the other checks, both at once and neither waiting: the slower of the two is the limit. */
async function signatures(): Promise<Sample> {
  const script = `${BENCH}/actors/crypto.ts`;
  const [signer, checker] = await Promise.all([
    Actor.start<CryptoQuestions>(script),
    Actor.start<CryptoQuestions>(script),
  ]);
  try {
    const request = { forMs: 500, bytes: SIGNED_BYTES };
    const [signed, checked] = await Promise.all([signer.ask("sign", request), checker.ask("check", request)]);
    return {
      perSecond: Math.min(signed.perSecond, checked.perSecond),
      sign: signed.perSecond,
      check: checked.perSecond,
    };
  } finally {
    await Promise.all([signer.end(), checker.end()]);
  }
}

export const speedCase: Case = {
  name: "speed",
  title: "Two processes, one speaker at full speed",
  async run(options: Options): Promise<readonly Row[]> {
    const peers = peersFor(options);
    const { runs } = options;
    const measured = await interleaved(runs, each([OURS, BARE_TLS, OURS_STORED, BARE_TCP, ...peers], speed));
    const raw = await interleaved(runs, {
      ours: bigTexts,
      tls: async () => ({ megabytes: (await rawStream(true, STREAM_BYTES, BIG_TEXT_BYTES)) / 1e6 }),
    });
    const shared = { case: "speed", unit: "lines/s", figure: "perSecond" };
    const big = (what: string, figure: string, goal?: Row["goal"]): Row => ({
      case: "speed",
      what,
      unit: "MB/s",
      ours: raw.figure("ours", figure),
      beside: "raw TLS, 64 KiB in a write",
      limit: raw.figure("tls", "megabytes"),
      ...(goal !== undefined && { goal }),
    });
    return [
      roomRow(measured, {
        ...shared,
        what: "100-byte lines, no store",
        goal: { text: "≥ 1/2", atLeast: 1 / 2 },
        others: [BARE_TCP, ...peers],
      }),
      roomRow(measured, {
        ...shared,
        what: "100-byte lines, SQLite on both sides",
        ours: OURS_STORED,
        goal: { text: "≥ 1/5", atLeast: 1 / 5 },
      }),
      roomRow(measured, {
        ...shared,
        what: "CPU for each line, both processes",
        unit: "µs",
        figure: "cpuPerDeliveryUs",
        others: [BARE_TCP, ...peers],
      }),
      roomRow(measured, {
        ...shared,
        what: `100-byte lines, the first ${LINES} of the room`,
        figure: "freshPerSecond",
        others: [BARE_TCP, ...peers],
      }),
      big("64 KiB texts", "megabytes", { text: "≥ 1/3", atLeast: 1 / 3 }),
      big(`64 KiB texts, the first ${BIG_TEXTS} of the room`, "freshMegabytes"),
    ];
  },
};

export const singleCase: Case = {
  name: "single",
  title: "Two processes, one text in a post",
  async run({ runs }): Promise<readonly Row[]> {
    const measured = await interleaved(runs, { ours: singlePosts, limit: signatures });
    const ours = measured.figure("ours", "perSecond");
    const micros = (figure: "sign" | "check") => {
      const rate = measured.figure("limit", figure);
      return "missing" in rate ? rate : figureOf([1e6 / rate.value]);
    };
    return [
      {
        case: "single",
        what: "posts a second, each signed and checked",
        unit: "posts/s",
        ours,
        beside: "Ed25519: one process signs, one checks",
        limit: measured.figure("limit", "perSecond"),
        goal: { text: "≥ 80 %", atLeast: 0.8 },
      },
      {
        case: "single",
        what: "Ed25519 check, beside a signature, both cores busy",
        unit: "µs",
        ours: micros("check"),
        beside: "Ed25519 signature",
        limit: micros("sign"),
      },
    ];
  },
};

export const delayCase: Case = {
  name: "delay",
  title: "Two processes, how long a text is under way",
  async run(options: Options): Promise<readonly Row[]> {
    const peers = peersFor(options);
    const measured = await interleaved(options.runs, each([OURS, BARE_TLS, BARE_TCP, ...peers], delay));
    const others = [BARE_TCP, ...peers];
    const row = (what: string, figure: string, goal?: Row["goal"]) =>
      roomRow(measured, { case: "delay", unit: "µs", what, figure, others, ...(goal !== undefined && { goal }) });
    return [
      row("a text there and an answer back, p50", "tripP50"),
      row("a text there and an answer back, p99", "tripP99"),
      row("one way at 100 texts/s, p50", "p50", { text: "≤ 1.6 ×", atMost: 1.6 }),
      row("one way at 100 texts/s, p99", "p99", { text: "≤ 1.6 ×", atMost: 1.6 }),
      row(`the same, the first ${PACED_TEXTS} texts of the room, p50`, "freshP50"),
      row(`the same, the first ${PACED_TEXTS} texts of the room, p99`, "freshP99"),
      {
        ...row("one way at 100 texts/s, p50 (issue 2)", "p50"),
        goal: { text: "≤ 1,000 µs", of: "ours", atMost: 1_000 },
      },
    ];
  },
};
