/**
 * Texts and names that mean harm, said in a real room to the compiled program in a terminal: its screen holds text and
 * nothing else, and the terminal is as it was.
 */
import { expect, setDefaultTimeout, test } from "bun:test";
import { Terminal as Xterm } from "@xterm/headless";
import { encodeTexts, PostKind } from "../../lib/codec/post.ts";
import { binary } from "../e2e/program.ts";
import { Rogue, type Siege } from "./attacks.ts";
import { introductionOf } from "./core.ts";
import { names, sequences, texts } from "./nasty.ts";

// On a busy machine processes and sockets take their time.
setDefaultTimeout(60_000);

const ROWS = 24;
/** What sets something that outlives a line: title, colours, links, clipboard, notes, marks, files. */
const OSC = [
  0, 1, 2, 4, 5, 7, 8, 9, 10, 11, 12, 13, 17, 19, 22, 50, 52, 99, 104, 105, 110, 111, 112, 133, 633, 777, 1337,
];

/** The program in a terminal that keeps account of all that was done to it. */
class Watched {
  readonly done: string[] = [];
  private readonly xterm = new Xterm({ cols: 100, rows: ROWS, allowProposedApi: true, scrollback: 50_000 });
  private readonly child: Bun.Subprocess;
  private look = () => {};

  constructor(argv: readonly string[]) {
    const { parser } = this.xterm;
    const note = (what: string) => {
      this.done.push(what);
      return false;
    };
    for (const code of OSC) parser.registerOscHandler(code, data => note(`OSC ${code} ${data}`));
    for (const final of ["q", "r", "s", "t"])
      for (const intermediates of ["", "+", "$"])
        parser.registerDcsHandler({ intermediates, final }, () => note("DCS"));
    for (const final of ["c", "D", "E", "M", "H", "=", ">", "7", "8"])
      parser.registerEscHandler({ final }, () => note(`ESC ${final}`));
    for (const final of ["r", "t", "n", "c"]) parser.registerCsiHandler({ final }, () => note(`CSI ${final}`));
    parser.registerCsiHandler({ prefix: "?", final: "h" }, parameters => note(`set ${parameters.join()}`));
    parser.registerCsiHandler({ prefix: "?", final: "l" }, parameters => note(`reset ${parameters.join()}`));
    this.xterm.onTitleChange(title => note(`title ${title}`));
    this.xterm.onBell(() => note("bell"));
    this.child = Bun.spawn([...argv], {
      env: { ...process.env, TERM: "xterm-256color", NO_COLOR: "1", CI: undefined, P2PCHAT_KEY: undefined },
      terminal: {
        cols: 100,
        rows: ROWS,
        data: (_, bytes) => this.xterm.write(bytes, () => this.look()),
      },
    });
    this.xterm.onData(answer => this.type(answer));
  }

  get modes(): unknown {
    return { ...this.xterm.modes };
  }

  type(keys: string): void {
    this.child.terminal?.write(keys);
  }

  /** All rows, those that have scrolled away too. */
  rows(): string[] {
    const buffer = this.xterm.buffer.active;
    return Array.from({ length: buffer.length }, (_, row) => buffer.getLine(row)?.translateToString(true) ?? "");
  }

  get isAlternate(): boolean {
    return this.xterm.buffer.active.type === "alternate";
  }

  /** Looked at between frames only: what the terminal hands over may end within one. */
  async until(fits: (rows: readonly string[]) => boolean): Promise<void> {
    const isWhole = () => !this.xterm.modes.synchronizedOutputMode;
    do
      await new Promise<void>(resolve => {
        this.look = () => {
          if (isWhole() && fits(this.rows().slice(-ROWS * 3))) resolve();
        };
        this.look();
      });
    while (!isWhole());
    this.look = () => {};
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill("SIGKILL");
    await this.child.exited;
    this.child.terminal?.close();
    this.xterm.dispose();
  }
}

/** Set anew with every frame of the prompt; whoever sets them is the program. */
const OWN = /^(set|reset) (7|25|2004|2026)$/;

test("names and texts that mean harm leave the screen to text, and the terminal as it was", async () => {
  await using zoe = new Watched([await binary(), "Zoe", "--host", "127.0.0.1", "--volatile"]);
  const listening = /listening at (\d+)/;
  await zoe.until(rows => rows.some(row => listening.test(row)));
  const port = Number(listening.exec(zoe.rows().join("\n"))?.[1]);
  const siege: Siege = { port, over: () => false, tally: { connections: 0, bytes: 0 } };
  const mallory = await Rogue.dial(siege, true);
  await using _ = { [Symbol.asyncDispose]: async () => mallory.close() };
  const say = async (body: Uint8Array, kind: number = PostKind.text) =>
    await mallory.send({ type: "post", post: mallory.seal(kind, body) });
  await mallory.send({ type: "post", post: mallory.introduction() });
  let marks = 0;
  const mark = async () => {
    const text = `mark${++marks}mark`;
    await say(encodeTexts([text]));
    await zoe.until(rows => rows.some(row => row.includes(text)));
  };
  await mark();
  const { modes } = zoe;
  zoe.done.length = 0;

  for (const text of [...sequences, ...texts]) {
    await say(encodeTexts([`<${text}>`, text]));
    await mark();
    expect([text, zoe.done.filter(what => !OWN.test(what))]).toEqual([text, []]);
    expect([text, zoe.modes, zoe.isAlternate]).toEqual([text, modes, false]);
  }
  // Broken UTF-8, and every kind of post there is or may be, with every text in it.
  await say(Buffer.from("c080e28228a0f0288cbcfe00ff1b5b324a80", "hex"));
  for (const kind of [4, 6, 7, 8, 9, 100]) for (const text of sequences) await say(Buffer.from(text), kind);
  for (const name of names) await say(introductionOf(mallory.identity, { name }), PostKind.add);
  // From somebody who is never called anything else.
  for (const name of names) {
    const other = await Rogue.dial(siege, true);
    const body = introductionOf(other.identity, { name });
    await other.send(
      { type: "post", post: other.seal(PostKind.add, body) },
      { type: "post", post: other.seal(PostKind.text, encodeTexts(["it is me"])) },
    );
    other.close();
  }
  await mark();
  expect(zoe.done.filter(what => !OWN.test(what))).toEqual([]);
  expect([zoe.modes, zoe.isAlternate]).toEqual([modes, false]);

  // What runs from right to left is set apart by the program itself, and the pair is whole.
  const rows = zoe.rows().map(row => row.replace(/\u2068([^\u2066-\u2069]*)\u2069/g, "$1"));
  // Nothing but text: no control, nothing invisible, nothing that turns a line round.
  const foul = rows.filter(row =>
    /[\p{Cc}\p{Cs}\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e0fff}]/u.test(
      row,
    ),
  );
  expect(foul).toEqual([]);
  // Whatever looks like the beginning of somebody's line is one: nobody else has said anything.
  const authors = rows.flatMap(row => /^\d\d:\d\d (\S+?):? /.exec(row)?.[1] ?? []);
  expect(authors.filter(author => author === "Ann")).toEqual([]);
  expect(rows.filter(row => /^>(INFO|ERROR)|^-- Ann/.test(row))).toEqual([]);
  // And Zoe goes on typing.
  zoe.type("still here\r");
  await zoe.until(all => all.some(row => row.includes("still here")));
}, 60_000);
