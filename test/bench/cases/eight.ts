/**
 * Eight processes, everybody linked to everybody; and three, when a script pours.
 */
import { type Case, interleaved, type Options, type Row, type Sample } from "../measure.ts";
import { peersFor } from "../peers.ts";
import { BARE_TLS, type Contender, each, firstOf, flood, inRoom, OURS, paced, percentiles, roomRow } from "../rooms.ts";

const SIZE = 8;
const FAN_OUT_LINES = 120_000;
const EVERYBODY_LINES = 40_000;
const WARM_UP_SHARE = 1;
const PACED_TEXTS = 240;
const PACED_PER_SECOND = 100;
/** Until what a text runs is compiled; at a pace that nobody is slowed down for. */
const WARM_UP_TEXTS = 2_000;
const WARM_UP_PER_SECOND = 500;
/** No more than a script may say ahead of the slowest reader: beyond it waits until that one is given up. */
const SLOW_READER_LINES = 18_000;
const POURED_LINES = 100_000;
const TYPED_EVERY_MS = 5;
/** Typed while the script pours, in any room. */
const TYPED_TEXTS = 30;

async function fanOut(contender: Contender): Promise<Sample> {
  return inRoom(contender, SIZE, async cast => {
    const texts = Math.ceil(FAN_OUT_LINES * contender.share);
    await flood(cast, [firstOf(cast)], { texts: Math.ceil(texts * WARM_UP_SHARE) });
    const { deliveredPerSecond, cpuPerDeliveryUs } = await flood(cast, [firstOf(cast)], { texts });
    return { deliveredPerSecond, cpuPerDeliveryUs };
  });
}

async function everybody(contender: Contender): Promise<Sample> {
  return inRoom(contender, SIZE, async cast => {
    const texts = Math.ceil(EVERYBODY_LINES * contender.share);
    await flood(cast, cast.members, { texts: Math.ceil(texts * WARM_UP_SHARE) });
    const { deliveredPerSecond, cpuPerDeliveryUs } = await flood(cast, cast.members, { texts });
    return { deliveredPerSecond, cpuPerDeliveryUs };
  });
}

async function delay(contender: Contender): Promise<Sample> {
  return inRoom(contender, SIZE, async cast => {
    const request = { texts: PACED_TEXTS, perSecond: PACED_PER_SECOND };
    const warmUp = Math.max(PACED_TEXTS, Math.ceil(WARM_UP_TEXTS * contender.share));
    const fresh = percentiles((await paced(cast, cast.members, request)).flat());
    await paced(cast, cast.members, { texts: warmUp, perSecond: WARM_UP_PER_SECOND });
    const { p50, p99 } = percentiles((await paced(cast, cast.members, request)).flat());
    return { p50, p99, freshP50: fresh.p50, freshP99: fresh.p99 };
  });
}

/** One of the eight is stopped as it is: the other six hear the speaker as fast as without it. */
async function slowReader(contender: Contender, isStopped: boolean): Promise<Sample> {
  return inRoom(contender, SIZE, async cast => {
    const [speaker, slow, ...hearers] = cast.members;
    if (speaker === undefined || slow === undefined) throw new Error("an empty room");
    await flood(cast, [speaker], { texts: SLOW_READER_LINES * WARM_UP_SHARE });
    if (isStopped) slow.signal("SIGSTOP");
    const { perSecond } = await flood(cast, [speaker], {
      texts: SLOW_READER_LINES,
      hearers: isStopped ? hearers : [slow, ...hearers],
    });
    return { perSecond };
  });
}

/** A script pours, a person types: how long what is typed is under way, seen by the third. */
async function typed(contender: Contender): Promise<Sample> {
  return inRoom(contender, 3, async ({ members, server }) => {
    const [script, typist, reader] = members;
    if (script === undefined || typist === undefined || reader === undefined) throw new Error("an empty room");
    await flood({ members, server }, [script], { texts: POURED_LINES * WARM_UP_SHARE });
    await reader.ask("delays", undefined);
    const pouring = flood({ members, server }, [script], { texts: POURED_LINES, hearers: [typist] });
    await typist.ask("pace", { texts: TYPED_TEXTS, everyMs: TYPED_EVERY_MS, afterMs: 0 });
    await pouring;
    return percentiles(await reader.ask("stamped", { texts: TYPED_TEXTS }));
  });
}

export const eightCase: Case = {
  name: "eight",
  title: "Eight processes at full speed",
  async run(options: Options): Promise<readonly Row[]> {
    const peers = peersFor(options);
    const contenders = [OURS, BARE_TLS, ...peers];
    const one = await interleaved(options.runs, each(contenders, fanOut));
    const all = await interleaved(options.runs, each(contenders, everybody));
    const rates = { case: "eight", unit: "texts/s", figure: "deliveredPerSecond", others: peers };
    const costs = { case: "eight", unit: "µs", figure: "cpuPerDeliveryUs", others: peers };
    return [
      roomRow(one, { ...rates, what: "one speaks: delivered to the seven others together" }),
      roomRow(one, { ...costs, what: "one speaks: CPU for each delivery" }),
      roomRow(all, { ...rates, what: "all speak: delivered together", goal: { text: "≥ NATS (--peers)" } }),
      roomRow(all, {
        ...costs,
        what: "all speak: CPU for each delivery",
        goal: { text: "≤ 1.0 µs", of: "ours", atMost: 1 },
      }),
    ];
  },
};

export const eightDelayCase: Case = {
  name: "eight-delay",
  title: "Eight processes, 100 texts a second",
  async run(options: Options): Promise<readonly Row[]> {
    const peers = peersFor(options);
    const measured = await interleaved(options.runs, each([OURS, BARE_TLS, ...peers], delay));
    const shared = { case: "eight-delay", unit: "µs", others: peers };
    return [
      roomRow(measured, { ...shared, what: "one way, p50", figure: "p50", goal: { text: "≤ 1.4 ×", atMost: 1.4 } }),
      roomRow(measured, { ...shared, what: "one way, p99", figure: "p99", goal: { text: "≤ 1.5 ×", atMost: 1.5 } }),
      roomRow(measured, {
        ...shared,
        what: `the same, the first ${PACED_TEXTS} texts of the room, p50`,
        figure: "freshP50",
      }),
      roomRow(measured, {
        ...shared,
        what: `the same, the first ${PACED_TEXTS} texts of the room, p99`,
        figure: "freshP99",
      }),
    ];
  },
};

export const crowdCase: Case = {
  name: "crowd",
  title: "Slow readers and loud scripts",
  async run({ runs }: Options): Promise<readonly Row[]> {
    const slow = await interleaved(runs, {
      stopped: () => slowReader(OURS, true),
      running: () => slowReader(OURS, false),
    });
    const typing = await interleaved(runs, each([OURS, BARE_TLS], typed));
    const goal = { text: "≤ 50 ms", of: "ours", atMost: 50_000 } as const;
    return [
      {
        case: "crowd",
        what: "eight, one speaks, one has stopped reading: lines to each other",
        unit: "lines/s",
        ours: slow.figure("stopped", "perSecond"),
        beside: "the same, all reading",
        limit: slow.figure("running", "perSecond"),
      },
      roomRow(typing, { case: "crowd", what: "three, typed while 100,000 lines pour, p50", unit: "µs", figure: "p50" }),
      roomRow(typing, {
        case: "crowd",
        what: "three, typed while 100,000 lines pour, p99",
        unit: "µs",
        figure: "p99",
        goal,
      }),
    ];
  },
};
