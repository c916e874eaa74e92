import { expect, test } from "bun:test";
import { World } from "./world.ts";

test("25 members who join one after another all read all, once, in one order", () => {
  const world = new World({ seed: 1, latencyMs: [100, 100] });
  const founder = world.add();
  for (let i = 1; i < 25; i++) {
    world.runFor(200);
    world.add(world.nodes[Math.floor(world.random() * i)] ?? founder);
  }
  world.runFor(5000);
  console.log(world.nodes.map(n => n.links.size + "/" + n.core?.members.presentCount).join(" "));
  const before = structuredClone(world.counters);
  for (let i = 0; i < 2000; i++) {
    world.runFor(10);
    world.nodes[Math.floor(world.random() * 25)]?.say(`text ${i}`);
  }
  world.runFor(5000);
  const d = world.counters;
  console.log((d.frames - before.frames) / 2000, d.byType, before.byType, world.violations);
  console.log(world.nodes.map(n => n.heard.length).join(" "), world.traceHash);
  expect(new Set(world.nodes.map(n => n.heard.length))).toEqual(new Set([2000]));
});
