/**
 * What the flags of the build do: the program as it is built beside the same without one of them, or with one more.
 */
import { join } from "node:path";
import { type Case, interleaved, type Options, type Row, type Sample } from "../measure.ts";
import { BUILD_FLAGS, binary, compile, Program, ROOT, settledMemoryOf } from "../processes.ts";
import { medianOf, untilLine } from "./start.ts";

const STARTS_PER_ROUND = 7;
const LISTENING = "listening";

const without = (flag: (typeof BUILD_FLAGS)[number]) => BUILD_FLAGS.filter(other => other !== flag);
const VARIANTS = {
  "without --bytecode": without("--bytecode"),
  "without --minify": without("--minify"),
  "without --splitting": without("--splitting"),
  "without --compile-jit-policy": without("--compile-jit-policy=64"),
  "with --smol": [...BUILD_FLAGS, "--compile-exec-argv=--smol"],
} as const;

async function measure(program: string): Promise<Sample> {
  const argv = [program, "Alice", "--host", "127.0.0.1", "--plain", "--volatile", "--stay"];
  const { ms = Number.NaN } = await medianOf(STARTS_PER_ROUND, () => untilLine(argv, LISTENING));
  const node = new Program(argv);
  try {
    await node.line(line => line.includes(LISTENING));
    const { rss, dirty } = await settledMemoryOf(node.pid);
    return { ms, rss: rss / 1024, dirty: dirty / 1024 };
  } finally {
    await node.end();
  }
}

export const flagsCase: Case = {
  name: "flags",
  title: "Flags of the build, beside the program as it is built",
  async run({ runs }: Options): Promise<readonly Row[]> {
    const built = await binary("p2pchat");
    const variants: Record<string, string> = {};
    for (const [name, flags] of Object.entries(VARIANTS))
      variants[name] = await compile(join(ROOT, "index.ts"), name.replaceAll(/\W+/g, "-"), flags);
    const measured = await interleaved(runs, {
      built: () => measure(built),
      ...Object.fromEntries(Object.entries(variants).map(([name, program]) => [name, () => measure(program)])),
    });
    const figures = [
      ["start, plain, --volatile", "ms", "ms"],
      ["idle, RSS", "MiB", "rss"],
      ["idle, private and dirty", "MiB", "dirty"],
    ] as const;
    return figures.flatMap(([what, unit, figure]) =>
      Object.keys(VARIANTS).map(
        (name): Row => ({
          case: "flags",
          what: `${what}, ${name}`,
          unit,
          ours: measured.figure(name, figure),
          beside: "as it is built",
          limit: measured.figure("built", figure),
        }),
      ),
    );
  },
};
