/**
 * Named workloads: the shapes in which others publish their figures, so that ours can stand beside them.
 */
import { DEFAULTS, type Scenario } from "./scenario.ts";

/**
 * Gossip Glomers challenge 3 (fly.io/dist-sys, Maelstrom's broadcast workload): 25 nodes, 100 ms a link, 100 operations
 * a second of which half read, for 20 s; with and without the partition nemesis.
 */
const glomers: Scenario = { ...DEFAULTS, nodes: 25, latency: [100, 100], rate: 100, reads: 0.5, seconds: 20 };

/** The shapes of iroh-gossip's simulator (simulations/all.toml there): one sender, many senders, a burst. */
const iroh: Scenario = { ...DEFAULTS, latency: [10, 100], joinEvery: 20, settle: 30_000, seconds: 20 };

export const WORKLOADS: Readonly<Record<string, Scenario>> = {
  glomers,
  "glomers-partition": { ...glomers, split: true },
  "one-sender-100": { ...iroh, nodes: 100, senders: 1, rate: 10 },
  "ten-senders-100": { ...iroh, nodes: 100, senders: 10, rate: 20 },
  "all-senders-100": { ...iroh, nodes: 100, senders: 0, rate: 20 },
  "burst-100": { ...iroh, nodes: 100, senders: 10, rate: 500, seconds: 1 },
  "one-sender-1000": { ...iroh, nodes: 1000, senders: 1, rate: 10 },
  "ten-senders-1000": { ...iroh, nodes: 1000, senders: 10, rate: 20 },
  "burst-1000": { ...iroh, nodes: 1000, senders: 10, rate: 500, seconds: 1 },
  "crash-half-1000": { ...iroh, nodes: 1000, senders: 10, rate: 10, massCrash: 0.5 },
  "crash-most-1000": { ...iroh, nodes: 1000, senders: 10, rate: 10, massCrash: 0.8 },
  /** Slow talk: what a split room has to mend is its links and its roster, and many seeds are to be played. */
  "split-200": { ...iroh, nodes: 200, senders: 20, rate: 0.05, seconds: 600, split: true },
  /** A small room in which everything goes wrong: for sweeps over many seeds. */
  mixed: { ...DEFAULTS, nodes: 8, joinEvery: 300, rate: 5, seconds: 30, faultRate: 0.5 },
};
