/**
 * Addresses of this machine that others can use, and how an address is written.
 *
 * `node:os` is loaded by who does not say where to listen: import and call together take 0.4 ms of a start, and 1 MB.
 */
import type { NetworkInterfaceInfo } from "node:os";
import { limits } from "../limits.ts";

export const LOOPBACKS = ["127.0.0.1", "::1"] as const;
/** Bridges and pairs of containers and virtual machines: theirs is a network of its own, mostly out of reach. */
const VIRTUAL = /^(docker|br-|veth|virbr|vmnet|vboxnet|cni|flannel|podman|lxc|lxd)/;

/** Of `networkInterfaces()`. */
export type Interfaces = Readonly<Record<string, readonly NetworkInterfaceInfo[] | undefined>>;

/**
 * The addresses at which others on the network reach a listener on `host` (undefined: everywhere), best first, never
 * none. IPv4 before IPv6, real interfaces before virtual ones; `127.0.0.1` where there is no network.
 */
export function localAddresses(host?: string, interfaces?: Interfaces): string[] {
  if (host !== undefined && !isEverywhere(host)) return [host];
  const { networkInterfaces } = require("node:os") as typeof import("node:os");
  const ranked = Object.entries(interfaces ?? networkInterfaces()).flatMap(([name, infos = []]) =>
    infos
      .filter(info => isUseful(info) && (host !== "0.0.0.0" || info.family === "IPv4"))
      .map(info => ({ address: info.address, rank: (VIRTUAL.test(name) ? 2 : 0) + (info.family === "IPv4" ? 0 : 1) })),
  );
  const addresses = ranked.sort((a, b) => a.rank - b.rank).map(({ address }) => address);
  return addresses.length === 0 ? [LOOPBACKS[0]] : addresses.slice(0, limits.addressesMax);
}

/** A peer's address as people write it: IPv4 that came in through an IPv6 socket is IPv4. */
export function plainHost(address: string): string {
  return /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1] ?? address;
}

export function isLoopback(host: string): boolean {
  return host === "::1" || host.startsWith("127.");
}

/** Whom a connection is charged to: an IPv4 address, or the /64 that one IPv6 customer has to itself. */
export function originOf(host: string): string {
  if (!host.includes(":")) return host;
  const [head = [], tail = []] = host.split("::").map(part => part.split(":").filter(group => group !== ""));
  const zeros = Array.from({ length: Math.max(0, 8 - head.length - tail.length) }, () => "0");
  return [...head, ...zeros, ...tail].slice(0, 4).join(":");
}

export function isEverywhere(host: string): boolean {
  return host === "::" || host === "0.0.0.0";
}

/** Link-local addresses need an interface's name beside them, which means nothing to others. */
function isUseful(info: NetworkInterfaceInfo): boolean {
  return !info.internal && !/^(169\.254\.|fe[89ab]|::1$|127\.)/i.test(info.address);
}
