/**
 * Texts and queries as the search index wants them: with spaces where a script writes none, and without what is often left out.
 *
 * FTS5 takes a run of letters for one word. Chinese, Japanese, Thai and their like divide no words, so each of their letters is
 * made one, and what is looked for is a row of them. (FTS5's own trigrams find nothing shorter than three letters, and make an
 * index three times as large of every other script.) Symbols, emoji among them, are words as well.
 */

/** Hangul has spaces between words, but what is looked for is often only how one begins. */
const LETTER =
  "[\\p{Script=Han}\\p{Script=Hiragana}\\p{Script=Katakana}\\p{Script=Hangul}\\p{Script=Thai}\\p{Script=Lao}" +
  "\\p{Script=Khmer}\\p{Script=Myanmar}\\p{So}]\\p{M}*";
const eachLetter = new RegExp(LETTER, "gu");
const eachRun = new RegExp(`(?:${LETTER})+`, "gu");
/** Points of Hebrew and Arabic, and the selectors of emoji. */
const LEFT_OUT = /[\u0591-\u05bd\u05bf-\u05c7]|[\u064b-\u065f]|\u0670|\ufe0e|\ufe0f/g;

/** What goes into the index. */
export function indexed(text: string): string {
  if (/^[\x00-\x7f]*$/.test(text)) return text;
  return text.normalize("NFKC").replace(LEFT_OUT, "").replace(eachLetter, " $& ");
}

/** A query for those who know FTS5; anything else is just words. */
const EXPRESSION = /["()*^+:]|(^|\s)(AND|OR|NOT|NEAR)(\s|$)/;

/** The first letter of words. FTS5 would put together all places of all that begin so: 0.1 s in a million texts. */
const ONE_LETTER = new RegExp(`(?<![\\p{L}\\p{N}\\p{M}])(?!${LETTER})[\\p{L}\\p{N}]\\p{M}*\\s*\\*`, "u");

/** It looks for less than a search is made for. */
export function isTooShort(query: string): boolean {
  // Of words in quotes only the last can be a beginning.
  return ONE_LETTER.test(query.replace(/"[^"]*?([^\s"]*)\s*"/g, " $1"));
}

/** What a user looks for, as FTS5 wants it. It may be no query at all. */
export function expressionOf(query: string): string {
  if (!EXPRESSION.test(query)) return query.trim().split(/\s+/).map(phrase).join(" ");
  return query
    .split(/("[^"]*"?)/)
    .map((part, index) => (index % 2 === 1 ? indexed(part) : part.replace(eachRun, phrase)))
    .join("");
}

function phrase(words: string): string {
  return `"${indexed(words).replaceAll('"', " ")}"`;
}
