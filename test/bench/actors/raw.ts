/**
 * What the sockets do by themselves: bytes one way, one frame there and back, handshakes. Over TCP or TLS.
 */
import { makeCertificate } from "../../../lib/net/certificate.ts";
import { answerWith, clockMs } from "./ipc.ts";

interface Endpoint {
  readonly port: number;
  readonly tls: boolean;
}

export type RawQuestions = {
  /** Counts what comes in, or sends it back. */
  readonly listen: {
    readonly ask: { readonly tls: boolean; readonly echo: boolean };
    readonly answer: { readonly port: number };
  };
  /** Answers when so many bytes have come in since the listener was opened or this was asked last. */
  readonly received: { readonly ask: { readonly bytes: number }; readonly answer: { readonly at: number } };
  readonly stream: {
    readonly ask: Endpoint & { readonly bytes: number; readonly writeBytes: number };
    readonly answer: { readonly startedAt: number };
  };
  /** ms each. */
  readonly pingPong: {
    readonly ask: Endpoint & { readonly count: number; readonly bytes: number };
    readonly answer: readonly number[];
  };
  /** One after the other, ms each: until the connection is open and, over TLS, secured. */
  readonly handshakes: { readonly ask: Endpoint & { readonly count: number }; readonly answer: readonly number[] };
};

let receivedBytes = 0;
let wanted: { readonly bytes: number; readonly resolve: (answer: { readonly at: number }) => void } | undefined;

function checkReceived(): void {
  if (wanted === undefined || receivedBytes < wanted.bytes) return;
  receivedBytes -= wanted.bytes;
  wanted.resolve({ at: clockMs() });
  wanted = undefined;
}

function clientTls(tls: boolean): { tls?: Bun.TLSOptions } {
  return tls ? { tls: { rejectUnauthorized: false } } : {};
}

/** Resolves once bytes may be sent. */
async function connect(
  { port, tls }: Endpoint,
  handlers: Bun.SocketHandler<undefined>,
): Promise<Bun.Socket<undefined>> {
  const secured = Promise.withResolvers<void>();
  const socket = await Bun.connect<undefined>({
    hostname: "127.0.0.1",
    port,
    data: undefined,
    socket: { ...handlers, handshake: () => secured.resolve(), error: () => {} },
    ...clientTls(tls),
  });
  socket.setNoDelay(true);
  if (tls) await secured.promise;
  return socket;
}

answerWith<RawQuestions>({
  listen: async ({ tls, echo }) => {
    const listener = Bun.listen<undefined>({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        open: socket => void socket.setNoDelay(true),
        data: (socket, chunk) => {
          if (echo) {
            socket.write(chunk);
            return;
          }
          receivedBytes += chunk.length;
          checkReceived();
        },
        error: () => {},
      },
      ...(tls && { tls: await makeCertificate() }),
    });
    return { port: listener.port };
  },
  received: ({ bytes }) => {
    const { promise, resolve } = Promise.withResolvers<{ at: number }>();
    wanted = { bytes, resolve };
    checkReceived();
    return promise;
  },
  stream: async ({ bytes, writeBytes, ...endpoint }) => {
    const piece = Buffer.alloc(writeBytes, ".");
    const { promise, resolve } = Promise.withResolvers<void>();
    let left = bytes;
    /** Of a piece that the kernel took in part. */
    let offset = 0;
    const pour = (socket: Bun.Socket<undefined>) => {
      while (left > 0) {
        const written = socket.write(piece, offset, Math.min(piece.length - offset, left));
        if (written < 0) break;
        left -= written;
        offset = (offset + written) % piece.length;
        if (written === 0 || offset !== 0) return;
      }
      resolve();
    };
    const socket = await connect(endpoint, { data: () => {}, drain: pour });
    const startedAt = clockMs();
    pour(socket);
    await promise;
    socket.end();
    return { startedAt };
  },
  pingPong: async ({ count, bytes, ...endpoint }) => {
    const frame = Buffer.alloc(bytes, ".");
    const roundTrips: number[] = [];
    const { promise, resolve } = Promise.withResolvers<void>();
    let sentAt = 0;
    let got = 0;
    const socket = await connect(endpoint, {
      data: (opened, chunk) => {
        got += chunk.length;
        if (got < bytes) return;
        got = 0;
        roundTrips.push(performance.now() - sentAt);
        if (roundTrips.length === count) return resolve();
        sentAt = performance.now();
        opened.write(frame);
      },
    });
    sentAt = performance.now();
    socket.write(frame);
    await promise;
    socket.end();
    return roundTrips;
  },
  handshakes: async ({ count, ...endpoint }) => {
    const times: number[] = [];
    for (let i = 0; i < count; i += 1) {
      const start = performance.now();
      const socket = await connect(endpoint, { data: () => {} });
      times.push(performance.now() - start);
      socket.terminate();
    }
    return times;
  },
});
