/**
 * The one place where text from the network becomes text for a terminal.
 *
 * Invariant: what comes out holds no control character but the line feed, nothing invisible and nothing that reorders a
 * line. So nobody can move the cursor, change a title, forge another member's line or hide what a link really says.
 */

/** Most text is this, and needs no work. */
const harmless = /^[\x20-\x7e]*$/;

/**
 * Escape sequences with their whole body, in the seven-bit and the eight-bit form (ECMA-48): CSI, the strings (OSC, DCS, SOS,
 * PM, APC; unterminated ones end with the line), then the short ones. Every ESC that is left over is a control character.
 */
const escapeSequences =
  /(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?|\x1b[ -/]*[0-~]/g;

/** C0 but line feed, DEL, C1, surrogates on their own. */
const controls = /[\x00-\x09\x0b-\x1f\x7f-\x9f]|\p{Cs}/gu;

/**
 * Soft hyphen, fillers, zero-width space, bidi marks, embeddings, overrides and isolates, invisible operators, BOM, tags,
 * selectors: Unicode has one property for them. The joiner and the two selectors that make emoji are looked at below.
 */
const invisible = /(?!\u200d|\ufe0e|\ufe0f)\p{Default_Ignorable_Code_Point}|[\ufff9-\ufffb]/gu;

/** Joiners and selectors that join and select nothing: they belong into emoji only. */
const strayJoiners =
  /(?<!\p{Extended_Pictographic}|\p{Emoji_Modifier}|\ufe0f)\u200d|\u200d(?!\p{Extended_Pictographic})|(?<!\p{Extended_Pictographic}|\p{Emoji})(?:\ufe0e|\ufe0f)/gu;

/** Marks piled up on one letter grow over the lines around it; no script needs more than this. */
const piledMarks = /(\p{M}{8})\p{M}+/gu;

/** `text` as it may be written to a terminal; line feeds stay, tabs become spaces. */
export function cleanText(text: string): string {
  if (harmless.test(text)) return text;
  return text
    .replace(escapeSequences, "")
    .replaceAll("\t", "    ")
    .replace(/[\u2028\u2029]/g, "\n")
    .replace(controls, "")
    .replace(invisible, "")
    .replace(strayJoiners, "")
    .replace(piledMarks, "$1");
}

/** The same on one line: for names, hosts and sentences. */
export function cleanLine(text: string): string {
  return harmless.test(text) ? text : cleanText(text).replaceAll("\n", " ");
}

/** What a terminal might act upon though JSON need not escape it: DEL, C1, bidi controls, line separators. */
const unsafeInJson = /[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/;
const eachUnsafe = new RegExp(unsafeInJson, "g");

/** `value` in JSON that may be looked at; nothing is lost. */
export function cleanJson(value: object): string {
  const json = JSON.stringify(value);
  if (!unsafeInJson.test(json)) return json;
  return json.replace(eachUnsafe, character => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
