import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { decode, encode } from "../../lib/codec/message.ts";
import { limits } from "../../lib/limits.ts";
import { Turns, type Worker } from "../../lib/net/turns.ts";
import { inside, linked, RawPeer, Station } from "./world.ts";

setDefaultTimeout(60_000);

/** Has so many pieces of work, each of which takes so long. */
class Busy implements Worker {
  readonly peer = undefined;
  /** Once, the machine does something else. */
  pauseMs = 0;
  constructor(
    private left: number,
    private readonly takesMs: number,
    private readonly log: Busy[],
  ) {}

  work(until: number): boolean {
    do {
      for (const began = performance.now(); performance.now() - began < this.takesMs + this.pauseMs; );
      this.pauseMs = 0;
      this.left -= 1;
      this.log.push(this);
    } while (this.left > 0 && performance.now() < until);
    return this.left > 0;
  }
}

describe("turns", () => {
  const finished = async (log: readonly Busy[], pieces: number) => {
    while (log.length < pieces) await new Promise<void>(resolve => setImmediate(resolve));
  };

  test("let whoever has little to do be done before whoever has much", async () => {
    const log: Busy[] = [];
    const turns = new Turns();
    const [flood, friend] = [new Busy(100, 0.3, log), new Busy(3, 0.3, log)];
    turns.add(flood);
    turns.add(friend);
    await finished(log, 103);
    expect(log.lastIndexOf(friend)).toBeLessThan(30);
  });

  test("begin with whoever has asked for least, however many others are behind", async () => {
    const log: Busy[] = [];
    const turns = new Turns();
    const floods = Array.from({ length: 8 }, () => new Busy(20, limits.sliceMs, log));
    const friend = new Busy(10, limits.sliceMs, log);
    const now = performance.now();
    turns.begin(friend, now);
    for (const flood of floods) {
      turns.charge(flood, limits.allowanceMaxMs * 1_000, now);
      turns.add(flood);
    }
    turns.add(friend);
    await finished(log, 170);
    // A turn is three slices, and one of them is the friend's; of nine by turns it would come after 80 of theirs.
    expect(log.lastIndexOf(friend)).toBeLessThan(45);
  });

  test("do not make a link pay for a pause of the machine", async () => {
    const log: Busy[] = [];
    const turns = new Turns();
    const [friend, flood] = [new Busy(6, limits.sliceMs, log), new Busy(60, limits.sliceMs, log)];
    friend.pauseMs = 40 * limits.sliceMs;
    turns.add(friend);
    turns.add(flood);
    await finished(log, 66);
    expect(log.lastIndexOf(friend)).toBeLessThan(30);
  });

  test("are over when there is nothing left, and may begin again", async () => {
    const log: Busy[] = [];
    const turns = new Turns();
    turns.add(new Busy(2, 0, log));
    await finished(log, 2);
    const again = new Busy(5, 0, log);
    turns.add(again);
    turns.add(again);
    await finished(log, 7);
    expect(log).toHaveLength(7);
  });
});

describe("an allowance of time", () => {
  /** One in debt at time 0, and another. */
  const scene = () => {
    const turns = new Turns();
    const [flood, friend] = [
      { peer: "mallory", work: () => true },
      { peer: "bob", work: () => true },
    ];
    for (const worker of [flood, friend]) turns.begin(worker, 0);
    turns.said("mallory", 0);
    turns.charge(flood, (limits.allowanceStartMs + 10) * 1_000, 0);
    return { turns, flood, friend };
  };

  test("may be overdrawn while nobody else says anything", () => {
    const { turns, flood, friend } = scene();
    expect(turns.mustWait(flood, 1)).toBe(false);
    turns.said("bob", 1);
    expect([turns.mustWait(flood, 2), turns.mustWait(friend, 2)]).toEqual([true, false]);
  });

  test("may be overdrawn while all who say anything have overdrawn theirs", () => {
    const { turns, flood, friend } = scene();
    for (const worker of [flood, friend]) turns.charge(worker, 2 * limits.allowanceMaxMs * 1_000, 1);
    const waiting = (now: number) => [flood, friend].map(worker => turns.mustWait(worker, now));
    const later = limits.conversationMs;
    for (const author of ["mallory", "bob"]) turns.said(author, later);
    expect(waiting(later + 1)).toEqual([false, false]);
    turns.said("carol", later + 2);
    expect(waiting(later + 3)).toEqual([true, true]);
    // Who has paid back all counts again.
    const paidAt = later + (2 * limits.allowanceMaxMs * 1_000) / limits.allowancePerSecondMs;
    turns.charge(flood, limits.allowanceMaxMs * 1_500, paidAt);
    turns.said("bob", paidAt);
    expect(waiting(paidAt + 1)).toEqual([true, false]);
  });

  test("may be overdrawn where others only hand on what its owner says, and not once one of them speaks", () => {
    const { turns, flood } = scene();
    turns.said("mallory", 1);
    expect(turns.mustWait(flood, 2)).toBe(false);
    turns.said("bob", 2);
    expect(turns.mustWait(flood, 3)).toBe(true);
    // Behind what it hands on, a friend is heard all the same.
    turns.said("mallory", 4);
    expect(turns.mustWait(flood, 5)).toBe(true);
    turns.said("mallory", limits.conversationMs + 3);
    expect(turns.mustWait(flood, limits.conversationMs + 4)).toBe(false);
  });

  test("is of no use while nobody is heard, and who is still to be let in is heard all the same", () => {
    const { turns, friend } = scene();
    let isHeld = true;
    turns.holdWhile(() => isHeld);
    turns.hurry(1_000);
    expect([turns.mustWait(friend, 1), turns.mustWait({ ...friend, peer: undefined }, 1)]).toEqual([true, false]);
    isHeld = false;
    expect(turns.mustWait(friend, 1)).toBe(false);
  });

  test("is gained back with time, or the others fall silent", () => {
    const { turns, flood } = scene();
    const paidBackAt = 10_000 / limits.allowancePerSecondMs;
    turns.said("bob", paidBackAt);
    expect([paidBackAt - 5, paidBackAt + 5].map(now => turns.mustWait(flood, now))).toEqual([true, false]);
    turns.charge(flood, 10_000 * limits.allowanceMaxMs, 1_000);
    expect([1_000, 1_000 + limits.conversationMs].map(now => turns.mustWait(flood, now))).toEqual([true, false]);
  });

  test("is of no account while a newcomer asks for what was said", () => {
    const { turns, flood } = scene();
    turns.said("bob", 0);
    turns.hurry(50);
    expect([49, 51].map(now => turns.mustWait(flood, now))).toEqual([false, true]);
  });

  test("leaves most turns of the loop to others, where a flood has none left", async () => {
    const turns = new Turns();
    const log: Busy[] = [];
    const flood = new Busy(Number.POSITIVE_INFINITY, 0.1, log);
    turns.charge(flood, limits.allowanceMaxMs * 1_000, performance.now());
    turns.add(flood);
    let [busy, idle] = [0, 0];
    while (busy + idle < 2_000) {
      turns.said("bob", performance.now());
      const before = log.length;
      await new Promise<void>(resolve => setImmediate(resolve));
      if (log.length === before) idle += 1;
      else busy += 1;
    }
    turns.remove(flood, performance.now());
    expect(idle).toBeGreaterThan(busy);
  });
});

describe("a peer that floods", () => {
  const pings = (count: number) =>
    Buffer.concat(Array.from({ length: count }, (_, token) => encode({ type: "ping", token })));

  test("is heard whole and in order, though it takes many turns", async () => {
    const COUNT = 50_000;
    const tokens: number[] = [];
    const all = Promise.withResolvers<void>();
    const onMessage: NonNullable<ConstructorParameters<typeof Station>[0]>["onMessage"] = (_, __, message) => {
      if (message.type === "ping") tokens.push(message.token);
      if (tokens.length === COUNT) all.resolve();
    };
    const listener = await new Station({ onMessage }).listening();
    const peer = await (await RawPeer.dial(listener.port)).enter();
    await peer.write(pings(COUNT));
    await all.promise;
    expect(tokens).toEqual(Array.from({ length: COUNT }, (_, token) => token));
  });

  test("waits for its turn with what comes after the pause", async () => {
    let heard = 0;
    const onMessage = () => {
      heard += 1;
      for (const began = performance.now(); performance.now() - began < limits.sliceMs / 4; );
    };
    const [listener, id] = await linked({ onMessage });
    const link = inside(listener).links.get(id) as unknown as { onData(chunk: Buffer): void };
    link.onData(pings(100));
    const before = heard;
    link.onData(pings(1));
    expect([before > 0, before < 100, heard]).toEqual([true, true, before]);
    while (heard < 101) await new Promise<void>(resolve => setImmediate(resolve));
  });

  test("is heard to the end though it hangs up", async () => {
    const COUNT = 20_000;
    let heard = 0;
    // Slow enough to be behind when the end comes.
    const onMessage = () => {
      heard += 1;
      for (const began = performance.now(); performance.now() - began < 0.01; );
    };
    const listener = await new Station({ onMessage }).listening();
    const peer = await (await RawPeer.dial(listener.port)).enter();
    await peer.write(pings(COUNT));
    (await peer.raw()).end();
    await listener.take("down");
    expect(heard).toBe(COUNT);
  });

  test("and hangs up leaves no more to be heard than has room beside what others have left", async () => {
    const [listener, first] = await linked();
    listener.transport.holdWhile(() => true);
    await (await RawPeer.dial(listener.port)).enter();
    const second = (await listener.take("up")).link;
    const links: ReadonlyMap<number, unknown> = inside(listener).links;
    const feed = (id: number) => (links.get(id) as { onData(chunk: Buffer): void }).onData(chunk);
    const chunk = pings(10_000);
    feed(second);
    // As it comes when the other end is closed: all that the kernel holds.
    let fed = 0;
    for (; links.has(first) && fed <= limits.heldMaxBytes; fed += chunk.length) {
      feed(first);
      await Promise.resolve();
    }
    expect((await listener.take("down")).link).toBe(first);
    expect(fed).toBeGreaterThan(limits.heldMaxBytes / 2);
    expect(fed).toBeLessThanOrEqual(limits.heldMaxBytes / 2 + chunk.length);
    expect(links.has(second)).toBe(true);
  });

  test("does not keep another waiting", async () => {
    let isFlooding = true;
    let before = 0;
    const friendly = Promise.withResolvers<void>();
    const onMessage: NonNullable<ConstructorParameters<typeof Station>[0]>["onMessage"] = (_, __, message) => {
      if (message.type === "compare") {
        isFlooding = false;
        friendly.resolve();
      } else if (isFlooding) {
        before += 1;
        for (const began = performance.now(); performance.now() - began < 0.1; );
      }
    };
    const listener = await new Station({ onMessage }).listening();
    const flood = await (await RawPeer.dial(listener.port)).enter();
    const friend = await (await RawPeer.dial(listener.port)).enter();
    // Five seconds of work.
    await flood.write(pings(50_000));
    await friend.write(encode({ type: "compare", digest: new Uint8Array(8) }));
    await friendly.promise;
    expect(before).toBeLessThan(10_000);
  });

  test("that is closed in the middle of it is not heard any more", async () => {
    let heard = 0;
    let last = Number.POSITIVE_INFINITY;
    const [listener, link, dialler] = await linked({
      onMessage: (station, id) => {
        heard += 1;
        if (heard === 10) {
          station.transport.close(id, "full");
          last = heard;
        }
      },
    });
    for (let token = 0; token < 1_000; token++) dialler.transport.send(2, encode({ type: "ping", token }));
    expect((await dialler.take("message")).message).toEqual(decode(encode({ type: "bye", reason: "full" })));
    expect((await listener.take("down")).link).toBe(link);
    expect([heard, last]).toEqual([10, 10]);
  });
});

test("many small frames for a peer that does not read take little more than their bytes", async () => {
  const listener = await new Station().listening();
  const peer = await (await RawPeer.dial(listener.port)).enter();
  (await peer.raw()).pause();
  const { link } = await listener.take("up");
  const queue = () => (inside(listener).links.get(link) as unknown as { readonly queue: unknown[] }).queue;
  // What the kernel takes first.
  for (let sent = 0; sent < 80; sent++) listener.transport.send(link, new Uint8Array(60_000));
  await new Promise<void>(resolve => setImmediate(resolve));
  for (let token = 0; token < 300_000; token++) listener.transport.send(link, encode({ type: "ping", token }));
  expect(queue().length).toBeGreaterThan(100);
  expect(queue().length).toBeLessThan(2_000);
});
