/**
 * What goes up the screen: events in lines, with what a reader needs between them (days, history, what was missed), and
 * without what nobody can read (hundreds of joins, thousands of lines of one member).
 *
 * Invariant: a member can take so many rows of the screen and no more, however fast it writes; what is left out is
 * counted on one line and stays in the history.
 */
import { cleanLine, cleanText } from "./clean.ts";
import { type BellRule, historyMaxTexts } from "./commands.ts";
import type { Look, MessageEvent } from "./look.ts";
import type { Line } from "./screen.ts";
import type { Times } from "./times.ts";
import type { ChatEvent } from "./view.ts";

/** What the feed needs of a screen. */
export interface Paper {
  print(lines: readonly (string | Line)[]): void;
  replace(key: string, text: string): boolean;
}

export interface FeedSetting {
  readonly paper: Paper;
  readonly look: Look;
  readonly times: Times;
  /** What the user is called now. */
  readonly name: () => string;
  /** Rows of history that a returning user is shown again. */
  readonly screenful: () => number;
  /** What is not shown can be asked for. */
  readonly isKept: () => boolean;
  /** Any steady clock, ms. */
  readonly now: () => number;
  readonly later: (run: () => void, ms: number) => unknown;
}

/** Lines that a member may write at once, and how many more each second: far above what is read, or what `make` prints. */
const burstMaxLines = 2_000;
const linesPerSecond = 20;
/** A fold ends when there is room for so many lines again. */
const calmLines = 100;
/** The count of a fold is written so often. */
const foldIntervalMs = 500;
/** Joins and leaves in a row that get lines of their own. */
const presenceLines = 3;
/** Of what was missed. The rest is in the history. */
const missedMaxTexts = 1_000;
/** A link that is fast enough shows no count on its way to the mark. */
const markDelayMs = 400;
const membersMax = 1_000;
/** Of the rows behind a sign ("•") where a line has several. */
const signIndent = 2;
const marksMax = 32;

type Presence = Extract<ChatEvent, { event: "join" | "leave" }>;

interface Quota {
  lines: number;
  at: number;
  folded: number;
  writtenAt: number;
  isWaiting: boolean;
  key: string;
}

interface Mark {
  readonly base: string;
  readonly at: number;
  reached: number;
  linked: number;
}

export class Feed {
  readonly #setting: FeedSetting;
  readonly #quotas = new Map<string, Quota>();
  readonly #marks = new Map<string, Mark>();
  #day: string | undefined;
  #inHistory = false;
  #streak = { count: 0, key: "", joined: new Set<string>(), left: new Set<string>(), lost: new Set<string>() };
  #keys = 0;

  constructor(setting: FeedSetting) {
    this.#setting = setting;
  }

  /** Returns whether the bell should ring, by this rule. */
  show(events: readonly ChatEvent[], bell: BellRule = "off"): boolean {
    const arrived = events.filter((event): event is Presence => event.event === "join" && event.present);
    if (arrived.length > presenceLines) this.#print([this.#setting.look.present(arrived.map(({ name }) => name))]);
    const past = events.filter(
      (event): event is MessageEvent => "history" in event && event.event !== "topic" && event.history,
    );
    let rings = false;
    let pastShown = false;
    for (const event of events) {
      if (event.event === "message" || event.event === "direct") {
        if (event.history) {
          if (!pastShown) this.#showPast(past);
          pastShown = true;
          continue;
        }
        this.#endHistory();
        rings = this.#showText(event, bell) || rings;
      } else if (event.event === "join" && event.present) {
        if (arrived.length <= presenceLines) this.#print(this.#setting.look.lines(event));
      } else if (event.event === "join" || event.event === "leave") this.#showPresence(event);
      else if (event.event === "reached") this.#showReach(event);
      // In the opening is a line to be copied.
      else if (event.event === "listening") this.#setting.paper.print(this.#setting.look.lines(event));
      else this.#print(this.#setting.look.lines(event));
    }
    this.#endHistory();
    return rings;
  }

  // The past.

  #showPast(past: readonly MessageEvent[]): void {
    const { look, screenful } = this.#setting;
    const seen = past.filter(event => event.seen).slice(-Math.max(1, screenful()));
    const missed = past.filter(event => !event.seen);
    const shown = missed.slice(-missedMaxTexts);
    this.#inHistory = true;
    this.#print([look.rule("history")]);
    for (const event of seen) this.#showOld(event);
    if (seen.length > 0 && missed.length > 0) this.#print([look.rule("while you were away")]);
    const left = missed.length - shown.length;
    const command = this.#commandFor(past.length);
    const where = command === undefined ? "" : `: ${command}`;
    if (left > 0) this.#print([look.rule(`${left.toLocaleString("en")} more${where}`)]);
    for (const event of shown) this.#showOld(event);
  }

  #showOld(event: MessageEvent): void {
    this.#showDay(event);
    this.#printText(this.#setting.look.message(event).slice(0, burstMaxLines));
  }

  #endHistory(): void {
    if (!this.#inHistory) return;
    this.#inHistory = false;
    this.#print([this.#setting.look.rule("now")]);
  }

  /** A new day gets a line, and so does the first day of the history where it is not today. */
  #showDay(event: MessageEvent): void {
    const day = this.#setting.times.day(event.at);
    if (day === "" || day === this.#day) return;
    const isNews = this.#day !== undefined || (event.history && day !== this.#setting.times.day(Date.now()));
    this.#day = day;
    if (isNews) this.#print([this.#setting.look.rule(day)]);
  }

  // Texts.

  #showText(event: MessageEvent, bell: BellRule): boolean {
    const { look } = this.#setting;
    this.#showDay(event);
    const mentions = event.own ? undefined : mentionOf(this.#setting.name(), event.text);
    const lines = look.message(event, mentions);
    if (event.own) this.#printOwn(event.id, lines);
    else if (!this.#printWithin(event, lines)) return false;
    if (event.own || bell === "off") return false;
    return bell === "all" || mentions !== undefined || event.event === "direct";
  }

  #printOwn(id: string, lines: readonly string[]): void {
    const last = lines.at(-1) ?? "";
    this.#marks.set(id, { base: last, at: this.#setting.now(), reached: 0, linked: -1 });
    const [oldest] = this.#marks.keys();
    if (this.#marks.size > marksMax && oldest !== undefined) this.#marks.delete(oldest);
    const { indent } = this.#setting.look;
    this.#printText(lines.slice(0, -1));
    this.#print([{ text: last, key: id, indent }]);
  }

  #showReach({ id, reached, linked }: Extract<ChatEvent, { event: "reached" }>): void {
    const mark = this.#marks.get(id);
    if (mark === undefined) return;
    Object.assign(mark, { reached, linked });
    if (linked > 0 && reached === linked) return this.#writeMark(id);
    const wait = mark.at + markDelayMs - this.#setting.now();
    if (wait <= 0) this.#writeMark(id);
    else this.#setting.later(() => this.#writeMark(id), wait);
  }

  #writeMark(id: string): void {
    const mark = this.#marks.get(id);
    if (mark === undefined) return;
    const { base, reached, linked } = mark;
    if (linked > 0 && reached === linked) this.#marks.delete(id);
    this.#setting.paper.replace(id, base + this.#setting.look.mark(reached, linked));
  }

  /** Prints as much as the member may still write; counts the rest. False where nothing of it was printed. */
  #printWithin(event: MessageEvent, lines: readonly string[]): boolean {
    const quota = this.#quotaOf(event.member);
    const isFolded = quota.folded > 0 && quota.lines < calmLines;
    const shown = isFolded ? [] : lines.slice(0, Math.floor(quota.lines));
    if (!isFolded && quota.folded > 0) {
      this.#writeFold(event, quota);
      Object.assign(quota, { folded: 0, key: "" });
    }
    quota.lines -= shown.length;
    this.#printText(shown);
    if (shown.length < lines.length) {
      quota.folded += lines.length - shown.length;
      if (this.#setting.now() - quota.writtenAt >= foldIntervalMs) this.#writeFold(event, quota);
      else this.#writeFoldLater(event, quota);
    }
    return shown.length > 0;
  }

  #writeFoldLater(event: MessageEvent, quota: Quota): void {
    if (quota.isWaiting) return;
    quota.isWaiting = true;
    this.#setting.later(() => {
      quota.isWaiting = false;
      if (quota.folded > 0) this.#writeFold(event, quota);
    }, foldIntervalMs);
  }

  #writeFold({ name, member }: MessageEvent, quota: Quota): void {
    const { look, now, paper } = this.#setting;
    const text = look.more(name, member, quota.folded, this.#commandFor(quota.folded, name));
    quota.writtenAt = now();
    if (quota.key !== "" && paper.replace(quota.key, text)) return;
    quota.key = `fold ${this.#keys++}`;
    this.#print([{ text, key: quota.key }]);
  }

  /** What lists so many of the latest texts, or as many as can be listed; undefined where nothing can. */
  #commandFor(texts: number, name?: string): string | undefined {
    if (!this.#setting.isKept()) return undefined;
    return ["/history", ...(name === undefined ? [] : [cleanLine(name)]), Math.min(texts, historyMaxTexts)].join(" ");
  }

  #quotaOf(member: string): Quota {
    const now = this.#setting.now();
    let quota = this.#quotas.get(member);
    if (quota === undefined) {
      const [oldest] = this.#quotas.keys();
      if (this.#quotas.size >= membersMax && oldest !== undefined) this.#quotas.delete(oldest);
      quota = {
        lines: burstMaxLines,
        at: now,
        folded: 0,
        writtenAt: Number.NEGATIVE_INFINITY,
        isWaiting: false,
        key: "",
      };
      this.#quotas.set(member, quota);
    }
    quota.lines = Math.min(burstMaxLines, quota.lines + ((now - quota.at) / 1000) * linesPerSecond);
    quota.at = now;
    return quota;
  }

  // Who comes and goes.

  #showPresence(event: Presence): void {
    const { look, paper } = this.#setting;
    const streak = this.#streak;
    const isFold = streak.count >= presenceLines;
    if (!isFold || streak.key === "") for (const list of [streak.joined, streak.left, streak.lost]) list.clear();
    const list = event.event === "join" ? streak.joined : event.reason === "lost" ? streak.lost : streak.left;
    list.add(event.name);
    const text = look.presence([...streak.joined], [...streak.left], [...streak.lost]);
    const { count, key } = streak;
    if (isFold && key !== "" && paper.replace(key, text)) return;
    const fresh = isFold ? `presence ${this.#keys++}` : "";
    this.#print([fresh === "" ? text : { text, key: fresh }]);
    Object.assign(this.#streak, { count: count + 1, key: fresh });
  }

  #printText(lines: readonly string[]): void {
    const { indent } = this.#setting.look;
    if (lines.length > 0) this.#print(lines.map(text => ({ text, indent })));
  }

  /** Whatever else is printed ends a row of joins and leaves. */
  #print(lines: readonly (string | Line)[]): void {
    this.#streak.count = 0;
    this.#streak.key = "";
    const indented = lines.map(line => ({ indent: signIndent, ...(typeof line === "string" ? { text: line } : line) }));
    this.#setting.paper.print(indented);
  }
}

/** Where a text names the user; undefined where it does not. */
function mentionOf(name: string, text: string): RegExp | undefined {
  if (name === "") return undefined;
  const escaped = name.replaceAll(".", "\\.");
  const mention = new RegExp(`(?<![\\p{L}\\p{N}_])${escaped}(?![\\p{L}\\p{N}_])`, "giu");
  return mention.test(cleanText(text)) ? mention : undefined;
}
