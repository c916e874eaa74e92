/** Runs the plain or the JSON front on given input, in this process. */
import type { FrontEnd, LineIo } from "../../lib/ui/lines.ts";
import type { ChatControl } from "../../lib/ui/view.ts";

export interface Run {
  /** All that was written. */
  readonly output: string;
  readonly writes: readonly string[];
  readonly end: FrontEnd;
}

type Front = (chat: ChatControl, io: LineIo) => Promise<FrontEnd>;
type Chunk = string | Uint8Array;

/** `input`: its chunks, one after the other, then the end; functions are called in between. */
export async function run(
  front: Front,
  chat: ChatControl,
  input: readonly (Chunk | (() => void))[],
  stay = false,
): Promise<Run> {
  const writes: string[] = [];
  const pieces = input[Symbol.iterator]();
  const stream = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        for (const piece of pieces) {
          if (typeof piece === "function") piece();
          else return controller.enqueue(typeof piece === "string" ? Buffer.from(piece) : piece);
        }
        controller.close();
      },
    },
    { highWaterMark: 0 },
  );
  const output = { write: (text: string) => writes.push(text), flush: () => 0 };
  const end = await front(chat, { stay, input: stream, output });
  return { output: writes.join(""), writes, end };
}
