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
/** Points of Hebrew and Arabic, and the selectors of emoji. */
const LEFT_OUT = /[\u0591-\u05bd\u05bf-\u05c7]|[\u064b-\u065f]|\u0670|\ufe0e|\ufe0f/g;

/** What goes into the index. */
export function indexed(text: string): string {
  if (/^[\x00-\x7f]*$/.test(text)) return text;
  return text.normalize("NFKC").replace(LEFT_OUT, "").replace(eachLetter, " $& ");
}

/** What makes a query more than words; brackets are some only beside these. */
const OPERATORS = /(?:^|[\s(])(?:AND|OR|NOT)(?=[\s)]|$)/;
/** The first letter of words. FTS5 would put together all places of all that begin so: 0.1 s in a million texts. */
const ONE_LETTER = new RegExp(`(?<![\\p{L}\\p{N}\\p{M}])(?!${LETTER})[\\p{L}\\p{N}]\\p{M}*\\*(?!\\S)`, "u");

/** It looks for less than a search is made for. */
export function isTooShort(query: string): boolean {
  // Of words in quotes only the last can be a beginning.
  return ONE_LETTER.test(query.replace(/"[^"]*?([^\s"]*)\s*"/g, " $1"));
}

/** What a user looks for, as FTS5 wants it: words, "phrases", beginnings* and operators. It may be no query at all. */
export function expressionOf(query: string): string {
  const words = OPERATORS.test(query) ? /[^\s"()]+/g : /[^\s"]+/g;
  const parts = query.split(/("[^"]*"?)/);
  return parts
    .map((part, index) =>
      index % 2 === 1
        ? indexed(part)
        : part.replace(words, (word, at) => (word === "*" && at === 0 && index > 0 ? word : term(word))),
    )
    .join("");
}

/** One word in quotes, so that nothing in it ("10:30", "don't", "C++") means anything to FTS5. */
function term(word: string): string {
  if (/^(AND|OR|NOT)$/.test(word)) return word;
  const [, beginning = "", star = ""] = /^(.+?)(\*?)$/s.exec(word) ?? [];
  return phrase(beginning) + star;
}

function phrase(words: string): string {
  return `"${indexed(words).replaceAll('"', " ")}"`;
}
