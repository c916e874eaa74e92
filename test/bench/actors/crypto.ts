/**
 * The signatures by themselves, with keys made once: what signing and checking a post cannot be cheaper than.
 */
import { generateKeyPairSync, sign, verify } from "node:crypto";
import { answerWith } from "./ipc.ts";

interface Request {
  readonly forMs: number;
  readonly bytes: number;
}

export type CryptoQuestions = {
  readonly sign: { readonly ask: Request; readonly answer: { readonly perSecond: number } };
  readonly check: { readonly ask: Request; readonly answer: { readonly perSecond: number } };
};

/** A post of one 100-byte text with its label and room. */
export const SIGNED_BYTES = 160;
/** Between two looks at the clock. */
const BATCH = 100;

function rateOf(forMs: number, work: () => void): { readonly perSecond: number } {
  const start = performance.now();
  let count = 0;
  let elapsedMs = 0;
  while (elapsedMs < forMs) {
    for (let i = 0; i < BATCH; i += 1) work();
    count += BATCH;
    elapsedMs = performance.now() - start;
  }
  return { perSecond: (count / elapsedMs) * 1000 };
}

if (import.meta.main) {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  answerWith<CryptoQuestions>({
    sign: ({ forMs, bytes }) => {
      const text = Buffer.alloc(bytes, ".");
      return rateOf(forMs, () => sign(null, text, privateKey));
    },
    check: ({ forMs, bytes }) => {
      const text = Buffer.alloc(bytes, ".");
      const signature = sign(null, text, privateKey);
      return rateOf(forMs, () => verify(null, text, publicKey, signature));
    },
  });
}
