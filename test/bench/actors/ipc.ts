/**
 * Questions and answers between the bench and its processes, over Bun's IPC.
 *
 * `Questions` maps the name of a question to what is asked and what is answered. A handler that throws is an answer too: the
 * bench gets its message as an `Error`.
 */

export type Questions = Readonly<Record<string, { readonly ask: unknown; readonly answer: unknown }>>;

export interface Question {
  readonly id: number;
  readonly type: string;
  readonly ask: unknown;
}

export interface Answer {
  readonly id: number;
  readonly answer?: unknown;
  readonly error?: string;
}

export type Handlers<Q extends Questions> = {
  readonly [K in keyof Q]: (ask: Q[K]["ask"]) => Q[K]["answer"] | Promise<Q[K]["answer"]>;
};

/** Answers questions until the process is ended. */
export function answerWith<Q extends Questions>(handlers: Handlers<Q>): void {
  const send = (answer: Answer) => void process.send?.(answer);
  process.on("message", async (question: Question) => {
    const { id, type, ask } = question;
    try {
      const handler = handlers[type];
      if (handler === undefined) throw new Error(`no such question: ${type}`);
      send({ id, answer: await handler(ask) });
    } catch (error) {
      send({ id, error: error instanceof Error ? error.message : String(error) });
    }
  });
  // The bench is gone: nobody will ask any more.
  process.on("disconnect", () => process.exit(0));
  send({ id: 0 });
}

/** ms since the epoch with fractions: the same clock in all processes of one machine, to about a microsecond. */
export function clockMs(): number {
  return performance.timeOrigin + performance.now();
}
