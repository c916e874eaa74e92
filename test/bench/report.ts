/**
 * The table on stdout and the file for programs.
 */
import { cpus } from "node:os";
import { type Figure, isReached, type Row, ratioOf } from "./measure.ts";

/** A machine is named by its cores and its model only. */
export function machine(): { readonly cores: number; readonly model: string } {
  const all = cpus();
  return { cores: all.length, model: all[0]?.model.trim() ?? "unknown" };
}

/** In place of what a limit is, where there is none. */
const NOTHING = "nothing";
const HEADINGS = ["", "ours", "limit", "ratio", "goal", "", "limit is"];

/** The lines of one case as a Markdown table, aligned for a terminal too. */
export function tableOf(title: string, rows: readonly Row[]): string {
  const cells = rows.map(row => [
    row.what,
    shown(row.ours, row.unit),
    row.beside === NOTHING ? "" : shown(row.limit, row.unit),
    ratioText(ratioOf(row)),
    row.goal?.text ?? "",
    markOf(row),
    row.beside,
  ]);
  return `## ${title}\n\n${markdown([HEADINGS, ...cells])}${othersTable(rows)}${missingNotes(rows)}`;
}

/** The others' figures, one column each. */
function othersTable(rows: readonly Row[]): string {
  const withOthers = rows.filter(row => row.others !== undefined);
  const names = [...new Set(withOthers.flatMap(row => Object.keys(row.others ?? {})))];
  if (names.length === 0) return "";
  const cells = withOthers.map(row => [
    row.what,
    shown(row.ours, row.unit),
    ...names.map(name => {
      const figure = row.others?.[name];
      return figure === undefined ? "" : shown(figure, row.unit);
    }),
  ]);
  return `\n${markdown([["beside others", "ours", ...names], ...cells])}`;
}

/** Why figures are missing, once each. */
function missingNotes(rows: readonly Row[]): string {
  const notes = new Set<string>();
  for (const row of rows) {
    if ("missing" in row.ours) notes.add(`${row.what}: not measured: ${row.ours.missing}`);
    if ("missing" in row.limit && row.beside !== NOTHING)
      notes.add(`${row.what}, ${row.beside}: not measured: ${row.limit.missing}`);
    for (const [name, figure] of Object.entries(row.others ?? {}))
      if ("missing" in figure) notes.add(`${name}: not measured: ${figure.missing}`);
  }
  return [...notes].map(note => `\n- ${note}`).join("") + (notes.size > 0 ? "\n" : "");
}

function markdown(cells: readonly (readonly string[])[]): string {
  const widths = (cells[0] ?? []).map((_, column) =>
    Math.max(...cells.map(row => Bun.stringWidth(row[column] ?? "")), 3),
  );
  const isNumber = (column: number) => column > 0 && column < 4;
  const line = (row: readonly string[]) =>
    `| ${widths.map((width, column) => pad(row[column] ?? "", width, isNumber(column))).join(" | ")} |\n`;
  const rule = `|${widths.map((width, column) => `${"-".repeat(width + 1)}${isNumber(column) ? ":" : "-"}`).join("|")}|\n`;
  const [head = [], ...rows] = cells;
  return line(head) + rule + rows.map(line).join("");
}

function pad(text: string, width: number, right: boolean): string {
  const blank = " ".repeat(Math.max(0, width - Bun.stringWidth(text)));
  return right ? blank + text : text + blank;
}

function shown(figure: Figure, unit: string): string {
  return "missing" in figure ? "not measured" : `${numberText(figure.value)} ${unit}`;
}

/** Three digits that count. */
function numberText(value: number): string {
  const size = Math.abs(value);
  const digits = size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
  return value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function ratioText(ratio: number | undefined): string {
  return ratio === undefined ? "" : numberText(ratio);
}

function markOf(row: Row): string {
  const reached = isReached(row);
  return reached === undefined ? "" : reached ? "yes" : "no";
}

export interface RunInfo {
  readonly runs: number;
  readonly seconds: number;
}

export function jsonOf(rows: readonly Row[], info: RunInfo): string {
  const lines = rows.map(row => ({ ...row, ratio: ratioOf(row) ?? null, reached: isReached(row) ?? null }));
  return `${JSON.stringify({ machine: machine(), bun: Bun.version, ...info, rows: lines }, undefined, 2)}\n`;
}
