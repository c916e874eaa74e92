/**
 * The attackers as a process of their own, at the lowest priority: on a machine with few cores it would else be their work
 * that keeps the members waiting, not what it makes of theirs. What still runs beside the members is theirs to answer for.
 */
import { attacks, holdIdle, type Siege, type Tally } from "../attacks.ts";

/** What is done to every port until the parent says that it is over. */
export interface Orders {
  readonly ports: readonly number[];
  readonly attacks: readonly string[];
  /** Connections that say nothing, in all. */
  readonly idle: number;
  /** Loops that attack nobody, for comparison: what it costs the members that a process is busy beside them. */
  readonly loops: number;
}

let isOver = false;
const tally: Tally = { connections: 0, bytes: 0 };

async function burn(): Promise<void> {
  while (!isOver) {
    for (const began = performance.now(); performance.now() - began < 5; );
    await new Promise<void>(resolve => setImmediate(resolve));
  }
}

async function attack(orders: Orders): Promise<void> {
  const sieges = orders.ports.map((port): Siege => ({ port, over: () => isOver, tally }));
  const running = sieges.flatMap(siege => [
    ...orders.attacks.map(name => attacks[name]?.(siege)),
    holdIdle(siege, Math.floor(orders.idle / sieges.length)),
  ]);
  await Promise.all([...running, ...Array.from({ length: orders.loops }, burn)]);
  process.send?.(tally);
}

process.on("message", (orders: Orders | "over") => {
  if (orders === "over") isOver = true;
  else void attack(orders);
});
process.on("disconnect", () => process.exit());
