import { describe, expect, test } from "bun:test";
import { Allowances, Conversation } from "../lib/allowances.ts";
import { limits } from "../lib/limits.ts";

const { allowanceStartMs, allowanceMaxMs, allowancePerSecondMs, allowancesMax, conversationMs } = limits;

describe("an allowance", () => {
  /** One that owes `debtMs`, all at time 0. */
  const debtor = (allowances: Allowances<string>, who: string, debtMs: number) => {
    allowances.begin(who, 0);
    allowances.charge(who, (allowances.level(who, 0) + debtMs) * 1_000, 0);
  };

  test("is never more than some, nor is the debt", () => {
    const allowances = new Allowances<string>(allowanceStartMs, allowanceMaxMs);
    allowances.begin("mallory", 0);
    expect(allowances.level("mallory", 1e9)).toBe(allowanceMaxMs);
    allowances.charge("mallory", 1e9, 1e9);
    expect(allowances.level("mallory", 1e9)).toBe(-allowanceMaxMs);
  });

  test("is in debt until time has paid it back", () => {
    const allowances = new Allowances<string>(allowanceStartMs, allowanceMaxMs);
    debtor(allowances, "mallory", 10);
    const paidBackAt = 10_000 / allowancePerSecondMs;
    expect([0, paidBackAt - 5, paidBackAt + 5].map(now => allowances.isInDebt("mallory", now))).toEqual([
      true,
      true,
      false,
    ]);
    expect(allowances.isInDebt("nobody", 0)).toBe(false);
  });

  test("is small at first where many come at once, and as large as ever a while later", () => {
    const allowances = new Allowances<number>(allowanceStartMs, allowanceMaxMs);
    const begin = (who: number, now: number) => allowances.begin(who, now).level(now);
    const [first = 0, ...others] = Array.from({ length: 50 }, (_, who) => begin(who, 0));
    expect(first).toBe(allowanceStartMs);
    expect(others.reduce((sum, ms) => sum + ms, first)).toBeLessThanOrEqual(allowanceMaxMs);
    expect(begin(50, 10_000)).toBe(allowanceStartMs);
  });

  test("that was overdrawn by who has gone is missing to those who come next, for a while", () => {
    const allowances = new Allowances<string>(allowanceStartMs, allowanceMaxMs);
    debtor(allowances, "mallory", allowanceMaxMs);
    allowances.end("mallory", 0);
    const paidBackAt = (1_000 * allowanceMaxMs) / allowancePerSecondMs;
    const begin = (who: string, now: number) => allowances.begin(who, now).level(now);
    expect([begin("her next key", 0), begin("another", paidBackAt)]).toEqual([0, allowanceStartMs]);
  });

  test("goes down faster for each where many are in debt, and not for who has paid", () => {
    const allowances = new Allowances<string>(allowanceStartMs, allowanceMaxMs);
    for (const [who, debtMs] of [
      ["a", 2],
      ["b", 2],
      ["c", 1],
    ] as const)
      debtor(allowances, who, debtMs);
    const costs = (now: number) => {
      const before = allowances.level("a", now);
      allowances.charge("a", 1_000, now);
      return before - allowances.level("a", now);
    };
    expect(costs(0)).toBeCloseTo(3);
    // "c" has paid by now.
    expect(costs(1_500 / allowancePerSecondMs)).toBeCloseTo(2);
    expect(costs(1e6)).toBeCloseTo(1);
  });

  test("is remembered of so many, whoever was first goes", () => {
    const allowances = new Allowances<number>(allowanceStartMs, allowanceMaxMs);
    for (let who = 0; who <= allowancesMax; who++) allowances.begin(who, 0);
    allowances.charge(1, 1, 0);
    expect(allowances.level(1, 1e6)).toBe(allowanceMaxMs);
    expect(allowances.level(0, 1e6)).toBe(0);
  });
});

test("others talk while somebody else has said something lately, however much one says oneself", () => {
  const talk = new Conversation();
  const othersTalk = (member: string, now: number) => talk.isAmongOthers(member, now);
  expect(othersTalk("ann", 0)).toBe(false);
  talk.heard("ann", 0);
  expect([othersTalk("ann", 1), othersTalk("ben", 1)]).toEqual([false, true]);
  talk.heard("ben", 2);
  talk.heard("ann", 3);
  talk.heard("ann", 4);
  expect([othersTalk("ann", 5), othersTalk("ben", 5)]).toEqual([true, true]);
  expect([othersTalk("ann", 2 + conversationMs), othersTalk("ben", 3 + conversationMs)]).toEqual([false, true]);
});
