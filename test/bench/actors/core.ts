/**
 * The core alone: many nodes in the simulated world, no sockets, no signatures, virtual time.
 */
import { World } from "../../sim/world.ts";
import { answerWith } from "./ipc.ts";

export type CoreQuestions = {
  readonly run: {
    readonly ask: { readonly nodes: number; readonly texts: number };
    readonly answer: {
      readonly eventsPerSecond: number;
      readonly framesPerText: number;
      /** CPU for each text and member that gets it, µs. */
      readonly perDeliveryUs: number;
      /** Of the whole world, over the members that all its nodes know, bytes. */
      readonly bytesPerMember: number;
    };
  };
  /** The world's own heap of events, with nothing in them. */
  readonly empty: { readonly ask: { readonly events: number }; readonly answer: { readonly eventsPerSecond: number } };
};

const LATENCY_MS = [10, 50] as const;
const JOIN_EVERY_MS = 50;
const SETTLE_MS = 10_000;
const TEXT_EVERY_MS = 10;

function heapBytes(): number {
  Bun.gc(true);
  return process.memoryUsage().heapUsed;
}

answerWith<CoreQuestions>({
  run: ({ nodes, texts }) => {
    const before = heapBytes();
    const world = new World({ seed: 1, latencyMs: LATENCY_MS });
    const founder = world.add();
    for (let i = 1; i < nodes; i += 1) {
      world.runFor(JOIN_EVERY_MS);
      world.add(world.nodes[Math.floor(world.random() * i)] ?? founder);
    }
    world.runFor(SETTLE_MS);
    const bytesPerMember = (heapBytes() - before) / (nodes * nodes);
    const { events, frames } = world.counters;
    const start = performance.now();
    for (let i = 0; i < texts; i += 1) {
      world.runFor(TEXT_EVERY_MS);
      world.nodes[i % nodes]?.say("t".padEnd(100, "."));
    }
    world.runFor(SETTLE_MS);
    const elapsedMs = performance.now() - start;
    const incomplete = world.nodes.filter(node => node.heard.length < texts).length;
    if (incomplete > 0) throw new Error(`${incomplete} of ${nodes} nodes did not hear all`);
    return {
      eventsPerSecond: ((world.counters.events - events) / elapsedMs) * 1000,
      framesPerText: (world.counters.frames - frames) / texts,
      perDeliveryUs: (elapsedMs * 1000) / (texts * (nodes - 1)),
      bytesPerMember,
    };
  },
  empty: ({ events }) => {
    const world = new World({ seed: 1, latencyMs: LATENCY_MS });
    const start = performance.now();
    let run = 0;
    for (let i = 0; i < events; i += 1) {
      world.at(world.now + 20, () => {
        run += 1;
      });
      if (i % 100 === 0) world.runFor(1);
    }
    world.runFor(100);
    if (run !== events) throw new Error("events were lost");
    return { eventsPerSecond: (events / (performance.now() - start)) * 1000 };
  },
});
