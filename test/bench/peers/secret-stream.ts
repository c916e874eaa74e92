/**
 * A full mesh of hyperswarm's secret-stream (noise, then libsodium's secretstream) on node:net, framed and bundled as the
 * bare mesh is. No signatures on what is said: the link proves the neighbour, and nobody relays.
 */
import { connect, createServer, type Socket } from "node:net";
import SecretStream from "@hyperswarm/secret-stream";
import { runMember } from "../actors/room.ts";

const HEADER_BYTES = 4;

await runMember(async ({ ports }, hear) => {
  const links = new Set<SecretStream>();
  const full = new Set<SecretStream>();
  let drained: PromiseWithResolvers<void> | undefined;
  let said: string[] = [];

  const onDrain = (link: SecretStream) => {
    full.delete(link);
    if (full.size > 0) return;
    drained?.resolve();
    drained = undefined;
  };
  const take = (isInitiator: boolean, socket: Socket): Promise<void> => {
    socket.setNoDelay(true);
    const opened = Promise.withResolvers<void>();
    const link = new SecretStream(isInitiator, socket);
    let rest: Buffer | undefined;
    link.on("connect", () => {
      links.add(link);
      opened.resolve();
    });
    link.on("data", (chunk: Buffer) => {
      const bytes = rest === undefined ? chunk : Buffer.concat([rest, chunk]);
      const texts: string[] = [];
      let offset = 0;
      while (bytes.length - offset >= HEADER_BYTES) {
        const end = offset + HEADER_BYTES + bytes.readUInt32BE(offset);
        if (end > bytes.length) break;
        texts.push(bytes.toString("utf8", offset + HEADER_BYTES, end));
        offset = end;
      }
      rest = offset === bytes.length ? undefined : Buffer.from(bytes.subarray(offset));
      if (texts.length > 0) hear(texts);
    });
    link.on("drain", () => onDrain(link));
    link.on("close", () => {
      links.delete(link);
      onDrain(link);
    });
    link.on("error", () => {});
    return opened.promise;
  };

  const server = createServer(socket => void take(false, socket));
  await new Promise<void>(resolve => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  for (const port of ports) await take(true, connect(port, "127.0.0.1"));

  const send = () => {
    const texts = said;
    said = [];
    const frames = Buffer.concat(
      texts.flatMap(text => {
        const body = Buffer.from(text);
        const header = Buffer.allocUnsafe(HEADER_BYTES);
        header.writeUInt32BE(body.length);
        return [header, body];
      }),
    );
    // It encrypts in place, so each link gets a copy of its own.
    for (const link of links) if (!link.write(Buffer.from(frames))) full.add(link);
  };
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    say: text => {
      said.push(text);
      if (said.length === 1) queueMicrotask(send);
    },
    ready: async () => {
      if (full.size === 0) return;
      drained ??= Promise.withResolvers();
      await drained.promise;
    },
    reaches: others => links.size >= others,
    close: async () => {
      for (const link of links) link.destroy();
      server.close();
    },
  };
});
