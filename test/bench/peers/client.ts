/**
 * A client of a server in the middle, by one bare socket without encryption: variants "irc", "mqtt" (3.1.1, QoS 0), "nats".
 *
 * By hand, so that all three are the same client but for the bytes: what is said within one turn is one write, and every chunk
 * that comes is cut into texts at once.
 */
import { type OpenRequest, runMember } from "../actors/room.ts";
import { WindowedRoom } from "./window.ts";

interface Dialect {
  readonly windowTexts: number;
  /** What is sent first. */
  hello(name: string): Buffer;
  /** Whether the server has let us in, going by what came so far. */
  isWelcome(received: Buffer): boolean;
  /** After the welcome. */
  join(name: string): Buffer;
  say(name: string, text: string): Buffer | string;
  /** Takes whole messages off the front: how many bytes, and what they say. `reply` answers the server. */
  read(bytes: Buffer, onText: (author: string, text: string) => void, reply: (bytes: string) => void): number;
}

const LINE_FEED = 10;

const irc: Dialect = {
  windowTexts: 2_000,
  hello: name => Buffer.from(`NICK ${name}\r\nUSER ${name} 0 * :${name}\r\n`),
  isWelcome: received => /^:\S+ 001 /m.test(received.toString("latin1")),
  join: () => Buffer.from("JOIN #room\r\n"),
  say: (_name, text) => `PRIVMSG #room :${text}\r\n`,
  read(bytes, onText, reply) {
    const end = bytes.lastIndexOf(LINE_FEED) + 1;
    for (const line of bytes.toString("utf8", 0, end).split("\r\n")) {
      const start = line.indexOf(" PRIVMSG #room :");
      if (start > 0) onText(line.slice(1, line.indexOf("!")), line.slice(start + 16));
      else if (line.startsWith("PING ")) reply(`PONG ${line.slice(5)}\r\n`);
    }
    return end;
  },
};

const nats: Dialect = {
  windowTexts: 2_000,
  hello: () => Buffer.from('CONNECT {"verbose":false,"pedantic":false,"echo":false}\r\nPING\r\n'),
  isWelcome: received => received.includes("PONG\r\n"),
  join: () => Buffer.from("SUB room.* 1\r\n"),
  say: (name, text) => `PUB room.${name} ${Buffer.byteLength(text)}\r\n${text}\r\n`,
  read(bytes, onText, reply) {
    let offset = 0;
    for (;;) {
      const end = bytes.indexOf(LINE_FEED, offset);
      if (end < 0) return offset;
      const line = bytes.toString("latin1", offset, end - 1);
      if (!line.startsWith("MSG ")) {
        if (line === "PING") reply("PONG\r\n");
        offset = end + 1;
        continue;
      }
      const [, subject = "", , length] = line.split(" ");
      const bodyEnd = end + 1 + Number(length);
      if (bodyEnd + 2 > bytes.length) return offset;
      onText(subject.slice(5), bytes.toString("utf8", end + 1, bodyEnd));
      offset = bodyEnd + 2;
    }
  },
};

const PUBLISH = 3;

/** MQTT's remaining length: seven bits a byte, the least first. */
function lengthBytes(length: number): number[] {
  const bytes: number[] = [];
  for (let rest = length; ; ) {
    const low = rest % 128;
    rest = Math.floor(rest / 128);
    bytes.push(rest > 0 ? low + 128 : low);
    if (rest === 0) return bytes;
  }
}

function packet(type: number, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([Buffer.from([type, ...lengthBytes(body.length)]), body]);
}

function counted(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes]);
}

const mqtt: Dialect = {
  windowTexts: 2_000,
  hello: name => packet(0x10, counted("MQTT"), Buffer.from([4, 2, 0, 0]), counted(name)),
  isWelcome: received => received.length >= 4 && received[0] === 0x20,
  join: () => packet(0x82, Buffer.from([0, 1]), counted("room/+"), Buffer.from([0])),
  say: (name, text) => packet(0x30, counted(`room/${name}`), Buffer.from(text)),
  read(bytes, onText) {
    let offset = 0;
    for (;;) {
      let length = 0;
      let at = offset + 1;
      for (let scale = 1; ; scale *= 128) {
        const byte = bytes[at];
        if (byte === undefined) return offset;
        at += 1;
        length += (byte & 127) * scale;
        if (byte < 128) break;
      }
      if (at + length > bytes.length) return offset;
      if ((bytes[offset] ?? 0) >> 4 === PUBLISH) {
        const topicEnd = at + 2 + bytes.readUInt16BE(at);
        onText(bytes.toString("utf8", at + 7, topicEnd), bytes.toString("utf8", topicEnd, at + length));
      }
      offset = at + length;
    }
  },
};

const DIALECTS: Readonly<Record<string, Dialect>> = { irc, mqtt, nats };

async function open({ name, ports: [port = 0], variant }: OpenRequest, hear: (texts: readonly string[]) => void) {
  const dialect = DIALECTS[variant];
  if (dialect === undefined) throw new Error(`no such dialect: ${variant}`);
  const welcome = Promise.withResolvers<void>();
  let isWelcome = false;
  let rest = Buffer.alloc(0);
  let queue: (Buffer | string)[] = [];
  let unsent = Buffer.alloc(0);

  const flush = (socket: Bun.Socket<undefined>) => {
    const next = queue.map(piece => (typeof piece === "string" ? Buffer.from(piece) : piece));
    queue = [];
    unsent = unsent.length === 0 && next.length === 1 ? (next[0] ?? unsent) : Buffer.concat([unsent, ...next]);
    unsent = unsent.subarray(Math.max(0, socket.write(unsent)));
  };
  const send = (piece: Buffer | string) => {
    queue.push(piece);
    if (queue.length === 1) queueMicrotask(() => flush(connection));
  };
  const read = (chunk: Buffer) => {
    let bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    if (!isWelcome) {
      isWelcome = dialect.isWelcome(bytes);
      if (isWelcome) {
        bytes = Buffer.alloc(0);
        welcome.resolve();
      }
      rest = Buffer.from(bytes);
      return;
    }
    const texts = new Map<string, string[]>();
    const taken = dialect.read(
      bytes,
      (author, text) => {
        const list = texts.get(author);
        if (list === undefined) texts.set(author, [text]);
        else list.push(text);
      },
      send,
    );
    rest = Buffer.from(bytes.subarray(taken));
    for (const [author, list] of texts) room.onTexts(author, list);
  };
  const connection = await Bun.connect<undefined>({
    hostname: "127.0.0.1",
    port,
    data: undefined,
    socket: { data: (_socket, chunk) => read(chunk), drain: flush, error: () => {} },
  });
  connection.setNoDelay(true);
  const room = new WindowedRoom(
    0,
    name,
    dialect.windowTexts,
    text => send(dialect.say(name, text)),
    hear,
    () => connection.terminate(),
  );
  send(dialect.hello(name));
  await welcome.promise;
  send(dialect.join(name));
  return room;
}

await runMember(open);
