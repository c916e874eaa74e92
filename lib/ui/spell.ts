/**
 * What the terminal can show: whether its locale knows UTF-8, whether it does more than print, how many colours it has, what
 * stands in for what it does not know.
 */

/** Our own signs, one cell each. */
const signs: Readonly<Record<string, string>> = {
  "⋅": "-",
  "›": ">",
  "→": ">",
  "←": "<",
  "•": "*",
  "◇": "*",
  "■": "!",
  "▲": "!",
  "│": "|",
  "┌": "+",
  "└": "+",
  "─": "-",
  "…": "~",
  "✓": "+",
  ß: "ss",
};

/** Unset means that nobody knows, and most terminals of today do; `C`, `POSIX` and other charsets say no. */
export function knowsUtf8({ LC_ALL, LC_CTYPE, LANG }: Readonly<Record<string, string | undefined>>): boolean {
  const locale = LC_ALL || LC_CTYPE || LANG || "";
  return locale === "" || /utf-?8/i.test(locale);
}

/** Lines only: for a screen reader, by clack's rule, and where the terminal itself says that it can do nothing else. */
export function isAccessible({ ACCESSIBLE = "", TERM }: Readonly<Record<string, string | undefined>>): boolean {
  return TERM === "dumb" || !["", "0", "false"].includes(ACCESSIBLE);
}

/** How many colours it has for sure. */
export function coloursOf({ TERM = "", COLORTERM = "" }: Readonly<Record<string, string | undefined>>): 256 | 16 {
  return /256color|direct/.test(TERM) || /^(truecolor|24bit)$/.test(COLORTERM) ? 256 : 16;
}

/** ASCII and the escape sequences as they are; accents are dropped, whatever else there is becomes as many question marks. */
export function spellAscii(text: string): string {
  return text.replace(/[^\x00-\x7e]+/g, run =>
    Array.from(run, character => {
      const plain = signs[character] ?? character.normalize("NFKD").replace(/\p{M}/gu, "");
      return /^[\x20-\x7e]*$/.test(plain) ? plain : "?".repeat(Bun.stringWidth(character));
    }).join(""),
  );
}

/** Hebrew, Arabic and their relatives, up to where they end in Unicode. */
const rightToLeft = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;

/** Right-to-left text that cannot reorder what stands around it: first strong isolate … pop (UAX #9, 2.4). */
export function isolate(text: string): string {
  return rightToLeft.test(text) ? `\u2068${text}\u2069` : text;
}
