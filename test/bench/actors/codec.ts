/**
 * Encoding and decoding a post by themselves, beside what no codec can do without: one copy there, one string back.
 */
import { decode, encode } from "../../../lib/codec/message.ts";
import { encodeTexts, PostKind, sealPost, textIdOf } from "../../../lib/codec/post.ts";
import { answerWith } from "./ipc.ts";

export type CodecWork = "encode" | "decode" | "copy" | "string";

export type CodecQuestions = {
  readonly run: {
    readonly ask: { readonly work: CodecWork; readonly texts: number; readonly rounds: number };
    /** Bytes mean something only where nothing is collected (BUN_JSC_useGC=0). */
    readonly answer: { readonly nanoseconds: number; readonly bytes: number };
  };
};

const ROOM = "00112233445566778899aabbccddeeff";
const SIGNATURE = Buffer.alloc(64, 1);
/** Results go here, so that no compiler takes the work away. */
let sink: unknown;

function workOf(work: CodecWork, count: number): () => void {
  const texts = Array.from({ length: count }, (_, index) => String(index).padEnd(100, "."));
  const head = { author: "0123456789abcdef", session: 1, seq: 1, clock: 1, kind: PostKind.text };
  const seal = () => sealPost(ROOM, { ...head, body: encodeTexts(texts) }, () => SIGNATURE);
  const frame = Buffer.from(encode({ type: "post", post: seal() }));
  const joined = Buffer.from(texts.join("\0"));
  switch (work) {
    case "encode":
      return () => {
        sink = encode({ type: "post", post: seal() });
      };
    case "decode":
      return () => {
        const message = decode(frame);
        if (message.type !== "post") throw new Error("a post comes back as a post");
        const { post } = message;
        sink = post.texts.map((_text, index) => textIdOf(post, index));
      };
    case "copy":
      return () => {
        sink = Buffer.from(texts.join("\0"));
      };
    case "string":
      return () => {
        sink = joined.toString("utf8").split("\0");
      };
  }
}

answerWith<CodecQuestions>({
  run: ({ work, texts, rounds }) => {
    const run = workOf(work, texts);
    for (let i = 0; i < rounds / 4; i += 1) run();
    const rss = process.memoryUsage.rss();
    const start = Bun.nanoseconds();
    for (let i = 0; i < rounds; i += 1) run();
    const nanoseconds = Bun.nanoseconds() - start;
    if (sink === undefined) throw new Error("nothing was done");
    const all = texts * rounds;
    return { nanoseconds: nanoseconds / all, bytes: (process.memoryUsage.rss() - rss) / all };
  },
});
