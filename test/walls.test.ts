/**
 * The walls of the house (design, section 3): who may import whom, what the core may not touch, and how a file is cut.
 */
import { describe, expect, test } from "bun:test";
import { Glob } from "bun";

const root = `${import.meta.dir}/..`;

/** A path without ".ts" ends a name; one with "/" behind it is a folder. "type:" allows `import type` only. */
const EVERYBODY = ["allowances", "bucket", "errors", "limits"];
const WALLS: readonly { readonly from: RegExp; readonly may: readonly string[]; readonly packages: RegExp }[] = [
  { from: /^allowances$/, may: ["codec/"], packages: /^$/ },
  { from: /^bucket$/, may: [], packages: /^$/ },
  { from: /^errors$/, may: [], packages: /^$/ },
  { from: /^limits$/, may: ["errors"], packages: /^$/ },
  { from: /^codec\//, may: ["codec/"], packages: /^$/ },
  { from: /^identity$/, may: ["codec/"], packages: /^node:/ },
  { from: /^key$/, may: ["codec/"], packages: /^node:/ },
  { from: /^history$/, may: ["codec/", "identity", "store/", "room/names"], packages: /^(node|bun):/ },
  { from: /^trust$/, may: ["codec/", "room/names", "type:store"], packages: /^$/ },
  { from: /^(company|compiler)$/, may: ["type:ui/view"], packages: /^$/ },
  { from: /^audience$/, may: ["type:codec/post", "type:ui/view"], packages: /^$/ },
  { from: /^rejections$/, may: [], packages: /^$/ },
  { from: /^keeper$/, may: ["type:store"], packages: /^$/ },
  { from: /^entrance$/, may: ["type:codec/", "type:net/", "room/names", "store", "store/"], packages: /^$/ },
  {
    from: /^(scribe|records)$/,
    may: [
      "codec/",
      "type:room/",
      "room/names",
      "identity",
      "seal",
      "scribe",
      "trust",
      "store/",
      "type:store",
      "type:ui/view",
    ],
    packages: /^$/,
  },
  { from: /^seal$/, may: ["codec/", "identity"], packages: /^node:/ },
  { from: /^room\//, may: ["room/", "codec/", "type:identity"], packages: /^$/ },
  { from: /^net\//, may: ["net/", "codec/", "identity"], packages: /^node:/ },
  { from: /^store(\/|$)/, may: ["store/", "codec/", "identity"], packages: /^(node|bun):/ },
  { from: /^ui\//, may: ["ui/"], packages: /^(@clack\/(core|prompts)|picocolors(\/types)?|node:.*)$/ },
  {
    from: /^chat$/,
    may: [
      "codec/",
      "room/",
      "net/",
      "identity",
      "seal",
      "audience",
      "company",
      "entrance",
      "keeper",
      "records",
      "rejections",
      "scribe",
      "trust",
      "type:store",
      "type:ui/view",
    ],
    packages: /^node:/,
  },
  // A bad name is refused before anything is opened, and names.ts and key.ts are pure functions.
  { from: /^options$/, may: ["type:codec/post", "room/names", "key"], packages: /^$/ },
  { from: /^completions$/, may: ["options"], packages: /^$/ },
  {
    from: /^discovery$/,
    may: ["type:codec/post", "net/", "type:history", "type:options", "room/names"],
    packages: /^node:/,
  },
  // Of the store only what it throws, which is told to the user in its own words.
  {
    from: /^(cli|subcommands)$/,
    may: [
      ...[
        "chat",
        "history",
        "options",
        "key",
        "discovery",
        "completions",
        "subcommands",
        "compiler",
        "type:codec/post",
      ],
      ...["type:net/beacon", "ui/", "room/names", "store", "store/", "../package.json"],
    ],
    packages: /^(@clack\/prompts|node:.*)$/,
  },
];

/** What would give the core a clock, chance, the outside or an order that is not its own. */
const IMPURE = [
  /\bDate\.now\b/,
  /\bnew Date\b/,
  /\bperformance\b/,
  /\bMath\.random\b/,
  /\bcrypto\b/,
  /\bset(Timeout|Interval|Immediate)\b/,
  /\bqueueMicrotask\b/,
  /\bconsole\./,
  /\bprocess\./,
  /\bawait\b/,
  /\bBun\.(listen|connect|file|write|sleep|env|nanoseconds|stdin|stdout|stderr|spawn|serve|udpSocket)\b/,
];
const FUNCTION_MAX_LINES = 70;

interface Source {
  /** Below lib, without ".ts". */
  readonly name: string;
  readonly text: string;
  /** Without comments and types. */
  readonly code: string;
}

interface Import {
  readonly specifier: string;
  readonly typeOnly: boolean;
}

const transpiler = new Bun.Transpiler({ loader: "ts", trimUnusedImports: false });
const sources: readonly Source[] = await Promise.all(
  [...new Glob("**/*.ts").scanSync(`${root}/lib`)].sort().map(async path => {
    const text = await Bun.file(`${root}/lib/${path}`).text();
    return { name: path.replace(/\.ts$/, ""), text, code: transpiler.transformSync(text) };
  }),
);

function importsOf(source: Source): Import[] {
  const statements = /^(?:import|export)\s+(type\s+)?(?:[^"';]*?\sfrom\s+)?"([^"]+)"/gm;
  const calls = /\b(?:import|require)\(\s*"([^"]+)"\s*\)/g;
  return [
    ...Array.from(source.text.matchAll(statements), ([, type, specifier = ""]) => ({ specifier, typeOnly: !!type })),
    ...Array.from(source.text.matchAll(calls), ([, specifier = ""]) => ({ specifier, typeOnly: false })),
  ];
}

/** "./post.ts" in codec/message is codec/post. */
function resolve(from: string, specifier: string): string {
  if (specifier.endsWith("package.json")) return "../package.json";
  const path = new URL(specifier, `file:///${from}`).pathname;
  return path.slice(1).replace(/\.ts$/, "");
}

function mayImport(allowed: readonly string[], target: string, typeOnly: boolean): boolean {
  return [...allowed, ...EVERYBODY].some(rule => {
    const name = rule.replace(/^type:/, "");
    if (rule.startsWith("type:") && !typeOnly) return false;
    return name.endsWith("/") ? target.startsWith(name) : target === name;
  });
}

/** Functions as biome formats them: from the line that opens one to the next line that closes at the same depth. */
function longFunctions(source: Source): string[] {
  const lines = source.text.split("\n");
  const opening =
    /^( *)(?:(?:(?:export|async|static|private|override) )*(?:function\b|(?!(?:if|for|while|switch|catch|return|throw|describe)\b)#?\w+(?:<[^(]*>)?\()|.*=> \{$)/;
  return lines.flatMap((line, index) => {
    const indent = opening.exec(line)?.[1];
    if (indent === undefined || /[;,]$/.test(line)) return [];
    const end = lines.findIndex((other, at) => at > index && other.startsWith(`${indent}}`));
    return end - index + 1 > FUNCTION_MAX_LINES ? [`${source.name}:${index + 1} has ${end - index + 1} lines`] : [];
  });
}

describe("the layers", () => {
  test("there are sources to look at", () => {
    expect(sources.length).toBeGreaterThan(10);
  });

  test("every file of lib has its place in the house", () => {
    const homeless = sources.filter(({ name }) => WALLS.filter(wall => wall.from.test(name)).length !== 1);
    expect(homeless.map(source => source.name)).toEqual([]);
  });

  test("nobody imports through a wall", () => {
    const breaches = sources.flatMap(source => {
      const wall = WALLS.find(({ from }) => from.test(source.name));
      return importsOf(source)
        .filter(({ specifier, typeOnly }) =>
          specifier.startsWith(".")
            ? !mayImport(wall?.may ?? [], resolve(source.name, specifier), typeOnly)
            : !wall?.packages.test(specifier),
        )
        .map(({ specifier }) => `${source.name} imports ${specifier}`);
    });
    expect(breaches).toEqual([]);
  });

  test("the import finder sees every form there is", () => {
    const text = `import a from "1";\nimport type { B } from "2";\nexport { c } from "3";\nimport "4";
import {
  d,
} from "5";\nconst e = await import("6");\nconst f = require("7");\n`;
    const found = importsOf({ name: "x", text, code: "" });
    expect(found.map(({ specifier, typeOnly }) => `${specifier}${typeOnly ? " type" : ""}`)).toEqual([
      "1",
      "2 type",
      "3",
      "4",
      "5",
      "6",
      "7",
    ]);
  });
});

describe("the core", () => {
  test("codec and room read no clock, draw no number, wait for nothing and touch nothing outside", () => {
    const core = sources.filter(({ name }) => /^(codec|room)\//.test(name));
    const impure = core.flatMap(({ name, code }) =>
      IMPURE.filter(pattern => pattern.test(code)).map(pattern => `${name}: ${pattern.source}`),
    );
    expect(impure).toEqual([]);
  });
});

describe("the form", () => {
  test("nothing is exported by default, and nothing is handed on from another file", () => {
    const wrong = sources.filter(({ text }) =>
      /^export (default\b|\*|(type )?\{[^}]*\} from|\{[^}]*\bas default\b)/m.test(text),
    );
    expect(wrong.map(source => source.name)).toEqual([]);
    expect(sources.map(source => source.name).filter(name => /(^|\/)index$/.test(name))).toEqual([]);
  });

  test("every file says at its top what it is for", () => {
    const silent = sources.filter(({ text }) => !text.startsWith("/**\n * "));
    expect(silent.map(source => source.name)).toEqual([]);
  });

  test(`no function is longer than ${FUNCTION_MAX_LINES} lines`, () => {
    expect(sources.flatMap(longFunctions)).toEqual([]);
    const body = "  call();\n".repeat(FUNCTION_MAX_LINES);
    const long = `export async function run(\n): void {\n${body}}\nclass A {\n  private b<T>(c: T): void {\n${body}  }\n}\n`;
    expect(longFunctions({ name: "x", text: long, code: "" })).toEqual(["x:1 has 73 lines", "x:75 has 72 lines"]);
  });
});
