/**
 * The core alone, in the simulator.
 */
import type { CoreQuestions } from "../actors/core.ts";
import { type Case, interleaved, missing, type Options, type Row, type Sample } from "../measure.ts";
import { Actor, BENCH } from "../processes.ts";

const SIZES = [
  { nodes: 8, texts: 2_000 },
  { nodes: 25, texts: 1_000 },
  { nodes: 100, texts: 200 },
] as const;
const EMPTY_EVENTS = 500_000;

async function inCore<T>(work: (core: Actor<CoreQuestions>) => Promise<T>): Promise<T> {
  const core = await Actor.start<CoreQuestions>(`${BENCH}/actors/core.ts`);
  try {
    return await work(core);
  } finally {
    await core.end();
  }
}

export const coreCase: Case = {
  name: "core",
  title: "The core alone, simulated, no sockets, no signatures",
  async run({ runs }: Options): Promise<readonly Row[]> {
    const sizes = SIZES.map(size => [String(size.nodes), (): Promise<Sample> => inCore(core => core.ask("run", size))]);
    const measured = await interleaved(runs, {
      empty: () => inCore(core => core.ask("empty", { events: EMPTY_EVENTS })),
      ...Object.fromEntries(sizes),
    });
    const none = missing("there is nothing beside it");
    return SIZES.flatMap(({ nodes }): Row[] => {
      const figure = (name: string) => measured.figure(String(nodes), name);
      const shared = { case: "core", beside: "nothing", limit: none };
      return [
        {
          ...shared,
          what: `${nodes} nodes: events`,
          unit: "events/s",
          ours: figure("eventsPerSecond"),
          beside: "the simulator with empty events",
          limit: measured.figure("empty", "eventsPerSecond"),
        },
        { ...shared, what: `${nodes} nodes: each delivery`, unit: "µs", ours: figure("perDeliveryUs") },
        { ...shared, what: `${nodes} nodes: frames for each text`, unit: "frames", ours: figure("framesPerText") },
        {
          ...shared,
          what: `${nodes} nodes: each member that a node knows`,
          unit: "bytes",
          ours: figure("bytesPerMember"),
        },
      ];
    });
  },
};
