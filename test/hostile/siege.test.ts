/**
 * Three honest members chat, each in a process of its own, while two more, at the lowest priority, do to two of them all
 * that attacks.ts has.
 *
 * Every text must arrive, once and in order, and what is kept must stay within limits.ts. Times and memory are printed, not
 * judged: they are the machine's as much as ours.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { limits } from "../../lib/limits.ts";
import { attacks } from "./attacks.ts";
import { besieged, figures, idleConnections } from "./siege.ts";

// On a busy machine processes and sockets take their time.
setDefaultTimeout(60_000);

const MiB = 1024 * 1024;

function check(name: string, { quiet, onset, siege, after, tally }: Awaited<ReturnType<typeof besieged>>): void {
  const grown = Math.max(...siege.map(({ kept }, index) => kept.rssBytes - (quiet[index]?.kept.rssBytes ?? 0))) / MiB;
  const [before, first, during] = [figures(quiet), figures(onset), figures([...onset, ...siege])];
  console.log(
    `${name}: ${tally.connections} connections, ${Math.round(tally.bytes / MiB)} MiB; quiet ${before.text}; besieged ${during.text}; ` +
      `p99 ×${(during.p99 / before.p99).toFixed(1)}, ×${(first.p99 / before.p99).toFixed(1)} in the first second, memory +${grown.toFixed(0)} MiB`,
  );
  for (const { kept, wrong } of [...onset, ...siege, ...after]) {
    expect(wrong).toEqual([]);
    expect(kept.sockets).toBeLessThanOrEqual(limits.handshakesMax + limits.linksMax + limits.dialsMax + 64);
    expect(kept.links).toBeLessThanOrEqual(limits.linksMax);
    expect(kept.dials).toBeLessThanOrEqual(limits.dialsMax);
    expect(kept.sessions).toBeLessThanOrEqual(limits.sessionsMax);
    expect(kept.members).toBeLessThanOrEqual(limits.sessionsMax);
    expect(kept.posts).toBeLessThanOrEqual(limits.logMaxPosts);
    expect(kept.aheadBytes).toBeLessThanOrEqual(limits.aheadTotalMaxBytes);
  }
}

test("idle connections by the thousand leave three members their chat", async () => {
  const idle = await idleConnections();
  check(`${2 * idle} idle connections`, await besieged({ idle }));
}, 120_000);

const everyAttack = Object.keys(attacks);
const isStrangers = (name: string) => /TLS|hello/.test(name);
const isTorrent = (name: string) => /posts|storms/.test(name);

describe("at once, on two of three members", () => {
  const groups = {
    "all that strangers can do": everyAttack.filter(isStrangers),
    "all that members can do in control messages": everyAttack.filter(name => !isStrangers(name) && !isTorrent(name)),
    "all that members can do with posts": everyAttack.filter(name => !isStrangers(name) && isTorrent(name)),
    "all that there is": everyAttack,
  };
  for (const [title, group] of Object.entries(groups))
    test(`${title} leaves all three their chat`, async () => {
      expect(group.length).toBeGreaterThan(4);
      check(`${title}, ${group.length} attacks`, await besieged({ attacks: group }));
    }, 120_000);

  test("nothing but a busy loop beside them leaves all three their chat, for comparison", async () => {
    check("a loop", await besieged({ loops: 1 }));
  }, 120_000);
});
