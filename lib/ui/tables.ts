/**
 * Answers to commands, in lines: people as tables, texts from the history. Everything in them is clean.
 */
import { cleanLine } from "./clean.ts";
import { duration, type Times } from "./times.ts";
import type { MemberView, PastView, PersonView, PresenceView } from "./view.ts";

/** Who is here: name, address, direct or relayed, round trip, and what is known of their doings. */
export function memberLines(members: readonly Presence[]): string[] {
  return table(
    members.map(member => [`${cleanLine(member.name)}${member.verified ? " ✓" : ""}`, ...presenceCells(member)]),
  );
}

type Presence = MemberView & Partial<PresenceView>;

function presenceCells({ address, port, self, linked, rtt_ms, idle_ms = null, away = null }: Presence): string[] {
  return [
    hostPort(address, port),
    self ? "you" : linked ? "linked" : "relayed",
    rtt_ms === null || self ? "" : `${rtt_ms < 10 ? rtt_ms.toFixed(1) : Math.round(rtt_ms)} ms`,
    idle_ms === null ? "" : `idle ${duration(idle_ms)}`,
    away === null ? "" : away === "away" ? away : `away: ${cleanLine(away)}`,
  ];
}

export function personLines(person: PersonView, times: Times): string[] {
  const { name, member, fingerprint, verified, ignored, other_key_seen, present } = person;
  const state =
    verified === null ? `no; /verify ${cleanLine(name)} tells how` : `yes, ${times.stamp(verified) || "by you"}`;
  const here = present === null ? ["not now"] : presenceCells(present).filter(cell => cell !== "");
  return table([
    ["name", cleanLine(name)],
    ["here", here.join(", ")],
    ["key", fingerprint],
    ["member", member],
    ...(present?.self ? [] : [["verified", state]]),
    ...(ignored ? [["ignored", "yes: you do not see what they say"]] : []),
    ...(other_key_seen ? [["warning", "the first who had this name here had another key"]] : []),
  ]);
}

/** One line a text. */
export function pastLines(texts: readonly PastView[], times: Times): string[] {
  return texts.map(({ name, to, text, at, action }) => {
    const who = cleanLine(name);
    const head = action ? `* ${who} ` : `${who}${to === undefined ? "" : ` → ${cleanLine(to)}`}: `;
    return `${times.stamp(at)} ${head}${cleanLine(text)}`.trim();
  });
}

function hostPort(address: string, port: number): string {
  const host = cleanLine(address);
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Cells in columns, as wide as the widest of each. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const [first = []] = rows;
  const widths = first.map((_, column) => Math.max(...rows.map(row => Bun.stringWidth(row[column] ?? ""))));
  const pad = (cell: string, column: number) =>
    (widths[column] ?? 0) === 0 ? [] : [cell + " ".repeat((widths[column] ?? 0) - Bun.stringWidth(cell))];
  return rows.map(row => row.flatMap(pad).join("  ").trimEnd());
}
