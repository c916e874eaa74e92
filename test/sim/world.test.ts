/**
 * Rooms played in virtual time: what must hold whatever goes wrong, for a sample of seeds.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { FAULT_KINDS, type Report, Run, type Scenario } from "./scenario.ts";
import { WORKLOADS } from "./workloads.ts";
import { World } from "./world.ts";

// On a busy machine processes and sockets take their time.
setDefaultTimeout(60_000);

function play(workload: string, changes: Partial<Scenario> = {}): Report {
  const base = WORKLOADS[workload];
  if (base === undefined) throw new Error(`no workload ${workload}`);
  const report = new Run({ ...base, ...changes }).play();
  // The seed and what broke stand in the failure: `bun run sim -- --workload <name> --seed <seed>` plays it again.
  expect({ workload, seed: report.seed, violations: report.violations }).toEqual({
    workload,
    seed: report.seed,
    violations: [],
  });
  return report;
}

describe("a room of 25", () => {
  test("costs one hop and one copy a member, once all are linked to all", () => {
    const report = play("glomers");
    expect(report.linksMean).toBe(24);
    expect(report.hops.max).toBe(1);
    expect(report.latencyMs).toEqual({ median: 100, p99: 100, max: 100 });
    expect(report.redundancyWarm).toBe(0);
    expect(report.framesPerOperation).toBeLessThan(13);
  });

  test("that was cut in two while it talked is whole again, with every text on both sides", () => {
    expect(play("glomers-partition").convergedMs).toBeGreaterThanOrEqual(0);
  });
});

describe("a room of 60, above the link limit", () => {
  const large = { nodes: 60, seconds: 10, settle: 30_000 };

  test("keeps a bounded number of links and loses nothing", () => {
    const report = play("ten-senders-100", large);
    expect(report.members).toBe(60);
    expect(report.linksMean).toBeLessThanOrEqual(14);
    expect(report.redundancyWarm).toBeLessThan(0.1);
  });

  test("survives that half of it crashes at one instant", () => {
    const report = play("ten-senders-100", { ...large, massCrash: 0.5 });
    expect(report.members).toBeLessThan(45);
    expect(report.textsMs).toBeGreaterThanOrEqual(0);
  });
});

describe("a small room under mixed faults", () => {
  test.each(Array.from({ length: 40 }, (_, index) => index + 1))("world %d agrees in the end", seed => {
    play("mixed", { seed, nodes: 3 + (seed % 8) });
  });

  test.each([...FAULT_KINDS])("made of %s alone agrees in the end", kind => {
    for (const seed of [101, 102, 103]) play("mixed", { seed, faults: [kind], nodes: 6 });
  });

  test.each([201, 202, 203, 204, 205])("with a third of it behind a NAT, world %d agrees in the end", seed => {
    play("mixed", { seed, undialable: 0.3 });
  });
});

describe("a world", () => {
  test.each([1, 2, 3, 4, 5])("is the same whenever seed %d is played", seed => {
    expect(play("mixed", { seed })).toEqual(play("mixed", { seed }));
  });

  test("is another one with another seed", () => {
    expect(play("mixed", { seed: 1 }).traceHash).not.toBe(play("mixed", { seed: 2 }).traceHash);
  });

  test("notices a text that is told twice", () => {
    const world = new World({ seed: 1, latencyMs: [10, 10] });
    const alice = world.add();
    const bob = world.add(alice);
    world.runFor(1_000);
    alice.say("once");
    world.runFor(1_000);
    expect(world.violations).toEqual([]);
    const [said] = bob.heard;
    expect(said).toBeDefined();
    if (said !== undefined) bob.hear(said);
    expect(world.violations).toHaveLength(1);
  });
});
