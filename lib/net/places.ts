/**
 * Where the beacon speaks: one place for each IPv4 address of a network card, and one for its IPv6 link-local address.
 */
import { type NetworkInterfaceInfo, networkInterfaces } from "node:os";
import { type Interfaces, isEverywhere, isLoopback } from "./addresses.ts";

/** How far the beacon may reach: "loopback" stays on this machine. */
export type Scope = "lan" | "loopback" | "off";

export interface Place {
  /** The card's name. */
  readonly card: string;
  readonly family: "udp4" | "udp6";
  readonly address: string;
  /** Where a broadcast goes, if there is such a thing. IPv4 only. */
  readonly broadcast: string | undefined;
  /** Length of the network's part of the address, bits. */
  readonly prefix: number;
}

/** A machine with hundreds of bridges must not send hundreds of packets. */
const PLACES_MAX = 32;

/** `host`: only where a listener on it is reached; undefined for everywhere. Loopback comes last. */
export function placesOf(scope: Scope, host?: string, interfaces: Interfaces = networkInterfaces()): Place[] {
  if (scope === "off") return [];
  const places = Object.entries(interfaces).flatMap(([card, infos = []]) =>
    infos.flatMap(info => placeOf(card, info) ?? []),
  );
  return places
    .filter(({ address }) => (scope === "lan" || isLoopback(address)) && reaches(host, address))
    .sort((a, b) => Number(isLoopback(a.address)) - Number(isLoopback(b.address)))
    .slice(0, PLACES_MAX);
}

/** Whether a packet from `source` came from a network that one of the places is on; what was routed is none of ours. */
export function isNear(places: readonly Place[], source: string): boolean {
  const [address = "", card] = source.split("%");
  return places.some(place =>
    place.family === "udp6"
      ? /^fe[89ab]/i.test(address) && (card === undefined || card === place.card)
      : !address.includes(":") && networkOf(address, place.prefix) === networkOf(place.address, place.prefix),
  );
}

function placeOf(card: string, { address, family, cidr, internal }: NetworkInterfaceInfo): Place | undefined {
  const prefix = Number(cidr?.split("/")[1]);
  if (!Number.isInteger(prefix)) return undefined;
  // Multicast needs a link: IPv6 has one link-local address per card for it, and on Linux none on loopback.
  if (family === "IPv6")
    return /^fe[89ab]/i.test(address) && !internal
      ? { card, family: "udp6", address: address.split("%")[0] ?? address, broadcast: undefined, prefix }
      : undefined;
  const host = prefix >= 31 ? undefined : addressOf(networkOf(address, prefix) + 2 ** (32 - prefix) - 1);
  return { card, family: "udp4", address, broadcast: host, prefix };
}

/** A listener on one address of a card is found through that address alone. "localhost" listens on loopback. */
function reaches(host: string | undefined, address: string): boolean {
  if (host === undefined || isEverywhere(host)) return true;
  return host.split("%")[0] === address || (host === "localhost" && isLoopback(address));
}

/** The lowest address of the network, as a number. */
function networkOf(address: string, prefix: number): number {
  const number = address.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
  return number - (number % 2 ** (32 - prefix));
}

function addressOf(number: number): string {
  return [24, 16, 8, 0].map(bits => Math.floor(number / 2 ** bits) % 256).join(".");
}
