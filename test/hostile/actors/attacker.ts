/**
 * The attackers of one member as a process of their own, at the lowest priority: on a machine with few cores it would else
 * be their work that keeps the members waiting, not what it makes of theirs.
 */
import { attacks, holdIdle, type Siege, type Tally } from "../attacks.ts";

/** What is done to a port until the parent says that it is over. */
export interface Orders {
  readonly port: number;
  readonly attacks: readonly string[];
  /** Connections that say nothing. */
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
  const siege: Siege = { port: orders.port, over: () => isOver, tally };
  const running = orders.attacks.map(name => attacks[name]?.(siege));
  await Promise.all([...running, holdIdle(siege, orders.idle), ...Array.from({ length: orders.loops }, burn)]);
  process.send?.(tally);
}

process.on("message", (orders: Orders | "over") => {
  if (orders === "over") isOver = true;
  else void attack(orders);
});
process.on("disconnect", () => process.exit());
