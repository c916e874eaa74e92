/**
 * What the sockets do by themselves: the ground under all other figures.
 */
import type { RawQuestions } from "../actors/raw.ts";
import { type Case, interleaved, quantile, type Row, type Sample } from "../measure.ts";
import { Actor, BENCH } from "../processes.ts";

const SCRIPT = `${BENCH}/actors/raw.ts`;
export const RAW_FRAME_BYTES = 104;
const BATCH_BYTES = 64 * 1024;
const STREAM_BYTES = 512 * 1024 * 1024;
const FRAMES = 100_000;
const ROUND_TRIPS = 5_000;
const HANDSHAKES = 200;

/** Two processes: one that listens, one that dials. */
async function pair<T>(
  listen: RawQuestions["listen"]["ask"],
  work: (dialler: Actor<RawQuestions>, listener: Actor<RawQuestions>, port: number) => Promise<T>,
): Promise<T> {
  const [listener, dialler] = await Promise.all([Actor.start<RawQuestions>(SCRIPT), Actor.start<RawQuestions>(SCRIPT)]);
  try {
    const { port } = await listener.ask("listen", listen);
    return await work(dialler, listener, port);
  } finally {
    await Promise.all([listener.end(), dialler.end()]);
  }
}

/** Bytes one way, a second, with so many in one write. */
export async function rawStream(tls: boolean, bytes: number, writeBytes: number): Promise<number> {
  return pair({ tls, echo: false }, async (dialler, listener, port) => {
    const received = listener.ask("received", { bytes });
    const { startedAt } = await dialler.ask("stream", { port, tls, bytes, writeBytes });
    const { at } = await received;
    return (bytes / (at - startedAt)) * 1000;
  });
}

async function measure(tls: boolean): Promise<Sample> {
  const batched = await rawStream(tls, STREAM_BYTES, BATCH_BYTES);
  const framed = await rawStream(tls, FRAMES * RAW_FRAME_BYTES, RAW_FRAME_BYTES);
  const roundTrips = await pair({ tls, echo: true }, (dialler, _listener, port) =>
    dialler.ask("pingPong", { port, tls, count: ROUND_TRIPS, bytes: RAW_FRAME_BYTES }),
  );
  const handshakes = await pair({ tls, echo: false }, (dialler, _listener, port) =>
    dialler.ask("handshakes", { port, tls, count: HANDSHAKES }),
  );
  return {
    batched: batched / RAW_FRAME_BYTES,
    framed: framed / RAW_FRAME_BYTES,
    pingPong: quantile(roundTrips, 0.5) * 1000,
    handshake: quantile(handshakes, 0.5) * 1000,
  };
}

export const raw: Case = {
  name: "raw",
  title: "Raw sockets: TLS beside TCP",
  async run({ runs }) {
    const measured = await interleaved(runs, { tls: () => measure(true), tcp: () => measure(false) });
    const row = (what: string, unit: string, figure: string): Row => ({
      case: "raw",
      what,
      unit,
      ours: measured.figure("tls", figure),
      beside: "TCP",
      limit: measured.figure("tcp", figure),
    });
    return [
      row("TLS, 100-byte frames one way, 64 KiB in a write", "frames/s", "batched"),
      row("TLS, 100-byte frames one way, one in a write", "frames/s", "framed"),
      row("TLS, a frame there and back, p50", "µs", "pingPong"),
      row("TLS, a connection opened and secured, p50", "µs", "handshake"),
    ];
  },
};
