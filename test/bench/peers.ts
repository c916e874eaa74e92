/**
 * Other programs that do something of the kind, side by side: only with `--peers`, and only those that are installed.
 */
import type { Options } from "./measure.ts";
import type { Contender } from "./rooms.ts";

/** Those that can take part on this machine. */
export async function peersFor({ peers }: Options): Promise<readonly Contender[]> {
  if (!peers) return [];
  return [];
}
