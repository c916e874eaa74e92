/**
 * Encoding and decoding a post: time and memory per text, alone in its post and among many.
 */
import type { CodecQuestions, CodecWork } from "../actors/codec.ts";
import { type Case, interleaved, type Options, type Row, type Sample } from "../measure.ts";
import { Actor, BENCH } from "../processes.ts";

const SHAPES = [
  { what: "alone in its post", texts: 1, rounds: 100_000, collectFreeRounds: 20_000 },
  { what: "one of 600", texts: 600, rounds: 1_000, collectFreeRounds: 200 },
] as const;
type Shape = (typeof SHAPES)[number];

async function run(work: CodecWork, shape: Shape): Promise<Sample> {
  const { texts, rounds, collectFreeRounds } = shape;
  const [timed, counted] = await Promise.all([
    Actor.start<CodecQuestions>(`${BENCH}/actors/codec.ts`),
    // What is never collected shows in the size of the process, native buffers included.
    Actor.start<CodecQuestions>(`${BENCH}/actors/codec.ts`, { BUN_JSC_useGC: "0" }),
  ]);
  try {
    const { nanoseconds } = await timed.ask("run", { work, texts, rounds });
    const { bytes } = await counted.ask("run", { work, texts, rounds: collectFreeRounds });
    return { nanoseconds, bytes };
  } finally {
    await Promise.all([timed.end(), counted.end()]);
  }
}

export const codecCase: Case = {
  name: "codec",
  title: "The codec, 100-byte texts, without signatures",
  async run({ runs }: Options): Promise<readonly Row[]> {
    const rows: Row[] = [];
    for (const shape of SHAPES) {
      const measured = await interleaved(runs, {
        encode: () => run("encode", shape),
        copy: () => run("copy", shape),
        decode: () => run("decode", shape),
        string: () => run("string", shape),
      });
      const row = (ours: CodecWork, limit: CodecWork, beside: string, unit: "ns" | "bytes"): Row => ({
        case: "codec",
        what: `${ours}, a text ${shape.what}`,
        unit,
        ours: measured.figure(ours, unit === "ns" ? "nanoseconds" : unit),
        beside,
        limit: measured.figure(limit, unit === "ns" ? "nanoseconds" : unit),
      });
      const copied = "joined and copied once";
      const read = "one string, split";
      rows.push(
        row("encode", "copy", copied, "ns"),
        row("encode", "copy", copied, "bytes"),
        row("decode", "string", read, "ns"),
        row("decode", "string", read, "bytes"),
      );
    }
    return rows;
  },
};
