/** Listening, dialling, and what strangers can do to both. Loopback only, every port the system's choice. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { encode, type Message, NO_ROOM, type RefusalInfo } from "../../lib/codec/message.ts";
import type { Address } from "../../lib/codec/post.ts";
import { ChatError } from "../../lib/errors.ts";
import { limits } from "../../lib/limits.ts";
import { localAddresses } from "../../lib/net/addresses.ts";
import { makeCertificate } from "../../lib/net/certificate.ts";
import {
  afterwards,
  inside,
  LOOPBACK,
  linked,
  newIdentity,
  OTHER_ROOM,
  RawPeer,
  ROOM,
  Station,
  type StationOptions,
  tcpServer,
} from "./world.ts";

// On a busy machine processes and sockets take their time.
setDefaultTimeout(60_000);

const KEY = Buffer.alloc(32, 0x42);
const ping = (token: number) => encode({ type: "ping", token });
const at = (port: number, host = LOOPBACK): Address => ({ host, port });

/** A port that nobody listens on, as of now. */
function deadPort(): number {
  const listener = Bun.listen({ hostname: LOOPBACK, port: 0, socket: { data() {} } });
  listener.stop(true);
  return listener.port;
}

/** A plain TCP connection that says nothing; resolves when it stands. */
async function idle(port: number, host = LOOPBACK): Promise<{ readonly closed: () => boolean }> {
  let closed = false;
  const socket = await Bun.connect({
    hostname: host,
    port,
    socket: {
      data() {},
      close() {
        closed = true;
      },
    },
  });
  afterwards(() => socket.terminate());
  return { closed: () => closed };
}

describe("two stations", () => {
  test("come up with equal knowledge", async () => {
    const listener = await new Station({ name: "Alice", session: 5 }).listening();
    const dialler = new Station({ name: "Bob", session: 6, room: NO_ROOM });
    dialler.transport.dial(8, [at(listener.port)], listener.self.identity.member);
    expect(await dialler.take("up")).toEqual({
      type: "up",
      link: 8,
      dialled: true,
      room: ROOM,
      peer: {
        member: listener.self.identity.member,
        publicKey: new Uint8Array(listener.self.identity.publicKey),
        session: 5,
        name: "Alice",
        host: LOOPBACK,
        joining: false,
      },
    });
    const bob = {
      member: dialler.self.identity.member,
      publicKey: new Uint8Array(dialler.self.identity.publicKey),
      session: 6,
      name: "Bob",
      host: LOOPBACK,
      joining: true,
    };
    expect(await listener.take("knock")).toEqual({ type: "knock", link: 1, peer: bob });
    expect(await listener.take("up")).toEqual({ type: "up", link: 1, peer: bob, dialled: false, room: ROOM });
  });

  test("meet on every address of localhost", async () => {
    for (const host of [LOOPBACK, "::1", undefined]) {
      const listener = await new Station().listening(host ?? "::");
      const dialler = new Station({ name: "Bob" });
      dialler.transport.dial(2, [at(listener.port, "LocalHost")]);
      const { peer } = await dialler.take("up");
      expect(peer.host).toBe(host ?? LOOPBACK);
      expect((await listener.take("up")).peer.host).toBe(host ?? LOOPBACK);
    }
  });

  test("meet by IPv4 and IPv6 where the listener is everywhere", async () => {
    const listener = new Station();
    listener.port = (await listener.transport.listen(undefined, 0)).port;
    for (const host of [LOOPBACK, "::1"]) {
      const dialler = new Station({ name: "Bob" });
      dialler.transport.dial(2, [at(listener.port, host)]);
      await dialler.take("up");
      expect((await listener.take("up")).peer.host).toBe(host);
    }
  });

  test("meet where many come at once to a listener that has no certificate yet, and some are gone before it has", async () => {
    const listener = await new Station().listening();
    const diallers = Array.from({ length: 8 }, () => new Station({ name: "Bob" }));
    for (const dialler of diallers) dialler.transport.dial(2, [at(listener.port)]);
    for (const abrupt of [true, false]) {
      const gone = await Bun.connect({ hostname: LOOPBACK, port: listener.port, socket: { data() {} } });
      if (abrupt) gone.terminate();
      else gone.end();
    }
    for (const dialler of diallers) {
      await dialler.take("up");
      await listener.take("up");
    }
    // Which resolves when no socket is left.
    await listener.transport.stop();
  });

  test("may dial each other at once", async () => {
    const one = await new Station({ name: "Alice" }).listening();
    const other = await new Station({ name: "Bob" }).listening();
    one.transport.dial(2, [at(other.port)]);
    other.transport.dial(2, [at(one.port)]);
    for (const station of [one, other]) {
      const ups = [await station.take("up"), await station.take("up")];
      expect(ups.map(up => up.link).sort()).toEqual([1, 2]);
    }
  });

  test("part without a trace", async () => {
    const [listener, accepted, dialler, dialled] = await linked();
    dialler.transport.close(dialled, "leaving");
    expect((await listener.take("message")).message).toEqual({ type: "bye", reason: "leaving" });
    expect(await listener.take("down")).toEqual({ type: "down", link: accepted, fault: undefined });
    expect(await dialler.take("down")).toEqual({ type: "down", link: dialled, fault: undefined });
    await Promise.all([listener.transport.stop(), dialler.transport.stop()]);
    for (const station of [listener, dialler]) {
      const { links, dials, sockets } = inside(station);
      expect([links.size, dials.size, sockets.size]).toEqual([0, 0, 0]);
      expect(station.events.filter(event => event.type === "down")).toEqual([]);
    }
  });
});

test("no handler is called from inside a method", async () => {
  let inMethod = false;
  const entered: string[] = [];
  const method = (work: () => void) => {
    inMethod = true;
    work();
    inMethod = false;
  };
  class Watched extends Station {
    override put(event: Parameters<Station["put"]>[0]): void {
      if (inMethod) entered.push(event.type);
      super.put(event);
    }
  }
  const listener = await new Watched({ door: "wait" }).listening();
  const dialler = new Watched({ name: "Bob" });
  method(() => dialler.transport.dial(2, [at(listener.port)]));
  method(() => dialler.transport.dial(4, []));
  await dialler.take("dialFailed");
  const { link } = await listener.take("knock");
  method(() => listener.transport.admit(link));
  await dialler.take("up");
  method(() => {
    for (let bytes = 0; bytes <= 2 * limits.linkQueueMaxBytes; bytes += 60_000)
      listener.transport.send(link, new Uint8Array(60_000));
  });
  await listener.take("down");
  method(() => void dialler.transport.stop());
  await dialler.take("down");
  expect(entered).toEqual([]);
});

describe("a dial that fails says why", () => {
  async function failureOf(addresses: readonly Address[], options: Partial<StationOptions> = {}, expect?: string) {
    const dialler = new Station({ name: "Bob", ...options });
    dialler.transport.dial(2, addresses, expect);
    const { failure } = await dialler.take("dialFailed");
    await dialler.transport.stop();
    if (dialler.events.length > 0 || inside(dialler).sockets.size > 0) throw new Error("that was not all");
    return [failure.reason, failure.message];
  }
  const impatient = { deadlines: { firstByteTimeoutMs: 100 } };

  test("nobody there", async () => {
    expect(await failureOf([at(deadPort())])).toEqual(["refused", "connection refused"]);
    expect(await failureOf([at(deadPort(), "localhost")])).toEqual(["refused", "connection refused"]);
  });

  test("no such host", async () => {
    for (const host of ["nosuch.invalid", "", "no such host", "a".repeat(255)])
      expect(await failureOf([at(1, host)])).toEqual(["not_found", "no such host"]);
  });

  test("no address at all", async () => {
    expect(await failureOf([])).toEqual(["closed", "given up"]);
  });

  test("a port that cannot be", async () => {
    expect((await failureOf([at(0)]))[0]).toMatch(/refused|not_found|no_route/);
  });

  test("nothing answers", async () => {
    // A listener that never accepts: once its backlog is full the kernel ignores who else comes.
    const script = `const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
      process.stdout.write(String(listener.port)); setTimeout(() => process.exit(Bun.sleepSync(60_000)), 0);`;
    const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe", stderr: "ignore" });
    afterwards(async () => {
      child.kill("SIGKILL");
      await child.exited;
    });
    const { value } = await child.stdout.getReader().read();
    const port = Number(new TextDecoder().decode(value));
    const deadlines = { connectTimeoutMs: 300, firstByteTimeoutMs: 100 };
    // Whoever gets in shows that there is room, and takes some. Connections that hang do not show that there is none: on a busy
    // machine they may only be slow.
    let failure = ["silent"];
    while (failure[0] === "silent") {
      const hung = Promise.withResolvers<void>();
      setTimeout(hung.resolve, 500);
      await Promise.race([Promise.all(Array.from({ length: 256 }, () => idle(port))), hung.promise]);
      failure = await failureOf([at(port)], { deadlines });
    }
    expect(failure).toEqual(["timeout", "no answer within 0.3 s"]);
  });

  test("a silent socket", async () => {
    expect(await failureOf([at(tcpServer({}).port)], impatient)).toEqual([
      "silent",
      "it accepted the connection and then said nothing",
    ]);
  });

  test("a TLS server that is silent", async () => {
    const port = await RawPeer.listen(new RawPeer("listener"));
    // It is connected to within it, on a busy machine as well.
    const deadlines = { handshakeTimeoutMs: 1_000 };
    expect(await failureOf([at(port)], { deadlines })).toEqual([
      "silent",
      "it accepted the connection and then said nothing",
    ]);
  });

  const foreign = ["not_p2pchat", "something answered, but it is not p2pchat"];

  test("an SSH server", async () => {
    const server = tcpServer({ open: socket => void socket.write("SSH-2.0-OpenSSH_9.6\r\n") });
    expect(await failureOf([at(server.port)])).toEqual(foreign);
  });

  test("an HTTP server", async () => {
    const server = Bun.serve({ hostname: LOOPBACK, port: 0, fetch: () => new Response("hello") });
    afterwards(() => server.stop(true));
    expect(await failureOf([at(server.port ?? 0)])).toEqual(foreign);
  });

  test("an HTTPS server", async () => {
    const { key, cert } = await makeCertificate();
    const server = Bun.serve({
      hostname: LOOPBACK,
      port: 0,
      tls: { key, cert },
      fetch: () => new Response("hello"),
    });
    afterwards(() => server.stop(true));
    expect(await failureOf([at(server.port ?? 0)])).toEqual(foreign);
  });

  test("a TLS server that greets in its own way", async () => {
    const mail = new RawPeer("listener");
    const port = await RawPeer.listen(mail);
    const failing = failureOf([at(port)]);
    await mail.write(Buffer.from("220 mail.example ESMTP\r\n"));
    expect(await failing).toEqual(foreign);
  });

  test("a server that has TLS 1.2 only", async () => {
    const { key, cert } = await makeCertificate();
    const server = Bun.listen({
      hostname: LOOPBACK,
      port: 0,
      tls: { key, cert, maxVersion: 0x0303 } as Bun.TLSOptions,
      socket: { data() {} },
    });
    afterwards(() => server.stop(true));
    expect(await failureOf([at(server.port)])).toEqual(foreign);
  });

  test("a server that hangs up", async () => {
    const polite = tcpServer({ open: socket => void socket.end() });
    const rude = tcpServer({ open: socket => socket.terminate() });
    expect(await failureOf([at(polite.port)])).toEqual(["closed", "it closed the connection"]);
    expect(await failureOf([at(rude.port)])).toEqual(["closed", "it closed the connection"]);
  });

  test("somebody else than expected", async () => {
    const listener = await new Station().listening();
    expect(await failureOf([at(listener.port)], {}, newIdentity().member)).toEqual([
      "wrong_peer",
      "somebody else answered",
    ]);
    // The listener had let it in, and hears that it left.
    await listener.take("up");
    await listener.take("down");
  });

  test("oneself, which both ends notice", async () => {
    const identity = newIdentity();
    const listener = await new Station({ identity }).listening();
    expect(await failureOf([at(listener.port)], { identity })).toEqual(["own_key", "it has this very identity"]);
    expect((await listener.take("rejected")).fault.fault).toBe("own_key");
    listener.transport.dial(2, [at(listener.port)]);
    expect((await listener.take("dialFailed")).failure.reason).toBe("own_key");
  });

  test("another room", async () => {
    const listener = await new Station({ room: OTHER_ROOM }).listening();
    expect(await failureOf([at(listener.port)])).toEqual(["wrong_room", "it is in another room"]);
    expect((await listener.take("rejected")).fault.fault).toBe("wrong_room");
  });

  test("another key, or none where one is needed, or one where none is", async () => {
    const secret = await new Station({ roomKey: KEY }).listening();
    const open = await new Station().listening();
    const wrong = { roomKey: Buffer.alloc(32, 1) };
    expect(await failureOf([at(secret.port)], wrong)).toEqual(["wrong_key", "the key is not the room's"]);
    expect(await failureOf([at(secret.port)])).toEqual(["wrong_key", "the room is private and needs its key"]);
    expect(await failureOf([at(open.port)], wrong)).toEqual(["wrong_key", "the key is not the room's"]);
  });

  test("another version", async () => {
    const futuristic = new RawPeer("listener");
    const port = await RawPeer.listen(futuristic);
    const failing = failureOf([at(port)]);
    await futuristic.write(encode({ type: "refuse", reason: "bad_version", suggestion: "", addresses: [] }));
    expect(await failing).toEqual(["bad_version", "it speaks another version of the protocol"]);
  });

  test("turned away, with what was said", async () => {
    const refusals: [RefusalInfo, string][] = [
      [{ reason: "name_taken", suggestion: "Bob2", addresses: [] }, "the name is taken"],
      [{ reason: "full", suggestion: "", addresses: [at(1, "10.0.0.1")] }, "it has no free place"],
      [{ reason: "bad_name", suggestion: "", addresses: [] }, "it does not allow the name"],
    ];
    for (const [door, message] of refusals) {
      const listener = await new Station({ door }).listening();
      const failure = await new Station({ name: "Bob" }).dial(listener);
      expect(failure).toEqual({ reason: door.reason, message, refusal: door });
      await listener.take("knock");
      await listener.transport.stop();
      expect(listener.events).toEqual([]);
    }
  });

  test("given up by its owner", async () => {
    const dialler = new Station();
    dialler.transport.dial(2, [at(tcpServer({}).port), at(deadPort())]);
    dialler.transport.close(2, "leaving");
    expect((await dialler.take("dialFailed")).failure.reason).toBe("closed");
    dialler.transport.dial(4, [at(tcpServer({}).port)]);
    await dialler.transport.stop();
    expect((await dialler.take("dialFailed")).link).toBe(4);
    expect(dialler.events).toEqual([]);
  });
});

describe("a dial with several addresses", () => {
  test("takes the first that works", async () => {
    const listener = await new Station().listening();
    const dialler = new Station({ name: "Bob" });
    const ssh = tcpServer({ open: socket => void socket.write("SSH-2.0-OpenSSH_9.6\r\n") });
    dialler.transport.dial(2, [at(deadPort()), at(1, "nosuch.invalid"), at(ssh.port), at(listener.port)]);
    expect((await dialler.take("up")).link).toBe(2);
    expect(dialler.events.filter(event => event.type === "dialFailed")).toEqual([]);
  });

  test("tells of the one that got furthest", async () => {
    const ssh = tcpServer({ open: socket => void socket.write("SSH-2.0-OpenSSH_9.6\r\n") });
    const dialler = new Station();
    dialler.transport.dial(2, [at(ssh.port), at(deadPort()), at(1, "nosuch.invalid")]);
    expect((await dialler.take("dialFailed")).failure.reason).toBe("not_p2pchat");
  });

  test("does not ask again where it was turned away", async () => {
    const door: RefusalInfo = { reason: "name_taken", suggestion: "Bob2", addresses: [] };
    const listener = await new Station({ door }).listening("::");
    const dialler = new Station({ name: "Bob" });
    dialler.transport.dial(2, [at(listener.port, "localhost")]);
    await dialler.take("dialFailed");
    await listener.transport.stop();
    expect(listener.events.map(event => event.type)).toEqual(["knock"]);
  });

  test("goes on looking for whom it expects", async () => {
    const wrong = await new Station().listening();
    const right = await new Station({ name: "Carol" }).listening();
    const dialler = new Station({ name: "Bob" });
    dialler.transport.dial(2, [at(wrong.port), at(right.port)], right.self.identity.member);
    expect((await dialler.take("up")).peer.name).toBe("Carol");
  });
});

describe("a listener that cannot", () => {
  test("says that the port is taken", async () => {
    const { port } = await new Station().listening();
    const failing = new Station().transport.listen(LOOPBACK, port);
    await expect(failing).rejects.toEqual(new ChatError("unreachable", `port ${port} is taken by another program`));
  });

  test("says that the port is taken where it would listen everywhere", async () => {
    const { port } = await new Station().listening();
    const failing = new Station().transport.listen(undefined, port);
    await expect(failing).rejects.toEqual(new ChatError("unreachable", `port ${port} is taken by another program`));
  });

  test("says that the address is not this machine's", async () => {
    const sentence = "cannot listen on 203.0.113.9: it is not an address of this machine";
    await expect(new Station().transport.listen("203.0.113.9", 0)).rejects.toEqual(
      new ChatError("unreachable", sentence),
    );
  });

  test.skipIf(process.getuid?.() === 0 || process.platform !== "linux")(
    "says that a low port is not permitted (skipped as root, who may)",
    async () => {
      const sentence = "cannot listen on port 80: permission denied";
      await expect(new Station().transport.listen(LOOPBACK, 80)).rejects.toEqual(
        new ChatError("unreachable", sentence),
      );
    },
  );

  test("may listen again on the port that it has left", async () => {
    const [listener, , dialler] = await linked();
    await listener.transport.stop();
    await dialler.transport.stop();
    expect(await new Station().transport.listen(LOOPBACK, listener.port)).toEqual({ port: listener.port });
  });
});

describe("a private room", () => {
  /** All that a refused dialler has read, to the last byte. */
  async function learntBy(options: ConstructorParameters<typeof RawPeer>[1]): Promise<Buffer> {
    const listener = await new Station({ name: "Alice", roomKey: KEY }).listening();
    const peer = await RawPeer.dial(listener.port, options);
    await peer.hello();
    await peer.take("closed");
    expect((await listener.take("rejected")).fault.fault).toBe("wrong_key");
    expect(listener.events).toEqual([]);
    return Buffer.concat(peer.received);
  }
  const ONLY_WRONG_KEY = Buffer.from("0000000403030000", "hex");

  test("tells a peer without words nothing but that", async () => {
    expect(await learntBy({ name: "Eve" })).toEqual(ONLY_WRONG_KEY);
  });

  test("tells a peer with wrong words nothing but that", async () => {
    expect(await learntBy({ name: "Eve", roomKey: Buffer.alloc(32, 1) })).toEqual(ONLY_WRONG_KEY);
  });

  test("tells no more to one that guesses the room", async () => {
    expect(await learntBy({ room: ROOM })).toEqual(ONLY_WRONG_KEY);
    expect(await learntBy({ room: OTHER_ROOM, roomKey: Buffer.alloc(32, 1) })).toEqual(ONLY_WRONG_KEY);
  });

  test("gives up a listener that does not know the words, having said nothing but hello", async () => {
    const rogue = new RawPeer("listener", { name: "Eve", room: ROOM });
    const port = await RawPeer.listen(rogue);
    const dialler = new Station({ room: NO_ROOM, roomKey: KEY });
    dialler.transport.dial(2, [at(port)]);
    await rogue.secured();
    const { message } = await rogue.take("message");
    if (message.type !== "hello") throw new Error(`a ${message.type}`);
    // It overlooks the mac that it cannot check, so that it can answer.
    const { mac: _, ...credentials } = message.credentials;
    rogue.handshake.receive({ type: "hello", credentials });
    await rogue.write(rogue.handshake.admit().frame);
    expect((await dialler.take("dialFailed")).failure.reason).toBe("wrong_key");
    await rogue.take("closed");
    expect(Buffer.concat(rogue.received)).toEqual(Buffer.from(encode(message)));
  });

  test("lets in who knows the words", async () => {
    const [, , dialler] = await linked({ roomKey: KEY }, { roomKey: KEY, room: NO_ROOM });
    expect(dialler.events).toEqual([]);
  });
});

describe("a man in the middle", () => {
  /** Terminates TLS on both sides with a certificate of its own and passes on what it reads. */
  async function proxyTo(port: number): Promise<number> {
    const { key, cert } = await makeCertificate();
    type Side = { other: Promise<Bun.Socket<Side>> };
    const pass: Bun.SocketHandler<Side> = {
      async data(socket, chunk) {
        (await socket.data.other).write(chunk);
      },
      async close(socket) {
        (await socket.data.other).end();
      },
    };
    const listener = Bun.listen<Side>({
      hostname: LOOPBACK,
      port: 0,
      tls: { key, cert },
      socket: {
        ...pass,
        open(socket) {
          const tls = { rejectUnauthorized: false };
          const data = { other: Promise.resolve(socket) };
          const secured = Promise.withResolvers<Bun.Socket<Side>>();
          const handlers = { ...pass, handshake: secured.resolve };
          void Bun.connect<Side>({ hostname: LOOPBACK, port, tls, data, socket: handlers });
          socket.data = { other: secured.promise };
        },
      },
    });
    afterwards(() => listener.stop(true));
    return listener.port;
  }

  test("is found out by the listener", async () => {
    const listener = await new Station().listening();
    const dialler = new Station({ name: "Bob" });
    const failing = dialler.dial({ port: await proxyTo(listener.port) });
    expect((await listener.take("rejected")).fault.fault).toBe("bad_binding");
    expect((await failing)?.reason).toBe("closed");
    expect(listener.events).toEqual([]);
  });

  test("is found out by the dialler, though it shows the listener's own welcome", async () => {
    const listener = await new Station().listening();
    const behind = await RawPeer.dial(listener.port, { name: "Mallory" });
    await behind.hello();
    const welcome = (await behind.take("message")).message;
    const front = new RawPeer("listener");
    const port = await RawPeer.listen(front);
    const dialler = new Station({ name: "Bob" });
    const failing = dialler.dial({ port });
    await front.take("message");
    await front.write(encode(welcome));
    expect(await failing).toEqual({
      reason: "bad_binding",
      message: "somebody in between tampers with the connection",
    });
  });

  test("is found out where it answers in its own name and somebody else is expected", async () => {
    const listener = await new Station().listening();
    const mallory = await new Station({ name: "Alice" }).listening();
    const failure = await new Station({ name: "Bob" }).dial(mallory, 2, listener.self.identity.member);
    expect(failure?.reason).toBe("wrong_peer");
  });

  test("is kept out of a private room on both ends", async () => {
    const listener = await new Station({ roomKey: KEY }).listening();
    const dialler = new Station({ name: "Bob", roomKey: KEY });
    expect((await dialler.dial({ port: await proxyTo(listener.port) }))?.reason).toBe("wrong_key");
    expect((await listener.take("rejected")).fault.fault).toBe("wrong_key");
  });

  test("cannot use a recorded hello again", async () => {
    const listener = await new Station().listening();
    const first = await RawPeer.dial(listener.port, { name: "Bob" });
    const hello = await first.secured();
    await first.write(hello);
    await listener.take("up");
    const second = await RawPeer.dial(listener.port);
    await second.take("secured");
    await second.write(hello);
    expect((await listener.take("rejected")).fault.fault).toBe("bad_binding");
    await second.take("closed");
    expect(second.received).toEqual([]);
  });
});

test("a recorded connection shows no plain text", async () => {
  const recorded: Buffer[] = [];
  const listener = await new Station({ name: "AliceAliceAlice" }).listening();
  type Side = { other: Promise<Bun.Socket<Side>> };
  const pass: Bun.SocketHandler<Side> = {
    async data(socket, chunk) {
      recorded.push(chunk);
      (await socket.data.other).write(chunk);
    },
    async close(socket) {
      (await socket.data.other).end();
    },
  };
  const recorder = Bun.listen<Side>({
    hostname: LOOPBACK,
    port: 0,
    socket: {
      ...pass,
      open(socket) {
        const data = { other: Promise.resolve(socket) };
        const connected = Bun.connect<Side>({ hostname: LOOPBACK, port: listener.port, data, socket: pass });
        socket.data = { other: connected };
      },
    },
  });
  afterwards(() => recorder.stop(true));
  const dialler = new Station({ name: "BobBobBob" });
  dialler.transport.dial(2, [at(recorder.port)]);
  const { link } = await listener.take("up");
  await dialler.take("up");
  const secret = "the words that nobody may read";
  const text: Message = { type: "refuse", reason: "full", suggestion: secret, addresses: [] };
  listener.transport.send(link, encode(text));
  expect((await dialler.take("down")).fault).toBe("out_of_turn");
  const all = Buffer.concat(recorded);
  expect(all.length).toBeGreaterThan(1_000);
  const { publicKey } = listener.self.identity;
  for (const hidden of [secret, "AliceAliceAlice", "BobBobBob", publicKey, Buffer.from(ROOM, "hex"), "hello v1"])
    expect(all.includes(hidden)).toBe(false);
});

describe("strangers", () => {
  test("that fill all places leave room for a friend", async () => {
    const listener = await new Station().listening();
    const strangers = await Promise.all(Array.from({ length: 400 }, () => idle(listener.port)));
    const friend = new Station({ name: "Bob" });
    expect(await friend.dial(listener)).toBeUndefined();
    const held = strangers.filter(stranger => !stranger.closed()).length;
    expect(held).toBeLessThanOrEqual(limits.handshakesMax);
    expect(inside(listener).sockets.size).toBeLessThanOrEqual(limits.handshakesMax + 1);
  });

  test("that keep coming while a friend is at the door do not push it out", async () => {
    const listener = await new Station({ door: "wait" }).listening();
    const friend = new Station({ name: "Bob" });
    friend.transport.dial(2, [at(listener.port)]);
    const { link } = await listener.take("knock");
    await Promise.all(Array.from({ length: 400 }, () => idle(listener.port)));
    listener.transport.admit(link);
    await friend.take("up");
  });

  const [address = LOOPBACK] = localAddresses();
  test.skipIf(address.startsWith("127."))("from one address get only their share (needs a network)", async () => {
    const listener = await new Station().listening("0.0.0.0");
    await Promise.all(Array.from({ length: 100 }, () => idle(listener.port, address)));
    expect(await new Station({ name: "Bob" }).dial(listener)).toBeUndefined();
    expect(inside(listener).sockets.size).toBeLessThanOrEqual(limits.handshakesPerAddressMax + 1);
  });

  test.skipIf(address.startsWith("127."))("do not keep us at handshakes without end (needs a network)", async () => {
    const listener = await new Station().listening("0.0.0.0");
    const shakeHands = () =>
      new Promise<boolean>(resolve => {
        const close = (socket: Bun.Socket) => socket.terminate();
        const handshake = (socket: Bun.Socket) => {
          resolve(socket.getTLSVersion() === "TLSv1.3");
          close(socket);
        };
        const end = () => resolve(false);
        const socket = { data: close, handshake, close: end, error: end, connectError: end };
        const tls = { rejectUnauthorized: false };
        Bun.connect({ hostname: address, port: listener.port, tls, socket }).catch(end);
      });
    let done = 0;
    const startedAt = performance.now();
    for (let time = 0; time < 4 * limits.connectionsBurst; time++) if (await shakeHands()) done += 1;
    const seconds = (performance.now() - startedAt) / 1_000;
    expect(done).toBeGreaterThanOrEqual(limits.connectionsBurst);
    expect(done).toBeLessThanOrEqual(limits.connectionsBurst + limits.connectionsPerSecond * seconds + 1);
    expect(await new Station({ name: "Bob" }).dial(listener)).toBeUndefined();
  });

  test("do not disturb the links that are up", async () => {
    const [listener, accepted, dialler] = await linked();
    await Promise.all(Array.from({ length: 400 }, () => idle(listener.port)));
    listener.transport.send(accepted, ping(7));
    expect((await dialler.take("message")).message).toEqual({ type: "ping", token: 7 });
  });
});

describe("stop", () => {
  test("hands over what is queued, goodbye last", async () => {
    const COUNT = 100;
    const heard: string[] = [];
    const gone = Promise.withResolvers<void>();
    // Who takes it over has so long to read the last of it, on a busy machine as well.
    const [listener, accepted, dialler] = await linked(
      { deadlines: { followTimeoutMs: 20_000 } },
      {
        onMessage: (_, __, message) => {
          heard.push(message.type);
          if (message.type === "bye") gone.resolve();
        },
      },
    );
    const post = Buffer.alloc(5 + 60_000);
    post.writeUInt32BE(60_001, 0);
    post[4] = 4;
    for (let sent = 0; sent < COUNT; sent++) listener.transport.send(accepted, post);
    await listener.transport.stop();
    await gone.promise;
    expect(heard).toEqual([...Array.from({ length: COUNT }, () => "post"), "bye"]);
    await dialler.take("down");
    expect(inside(listener).sockets.size).toBe(0);
  });

  test("does not wait for a peer that has stopped reading", async () => {
    const deadlines = { leaveTimeoutMs: 100, followTimeoutMs: 100 };
    const listener = await new Station({ deadlines }).listening();
    const peer = await (await RawPeer.dial(listener.port)).enter();
    (await peer.raw()).pause();
    const { link } = await listener.take("up");
    for (let sent = 0; sent < 120; sent++) listener.transport.send(link, new Uint8Array(65_000));
    await listener.transport.stop();
    expect((await listener.take("down")).link).toBe(link);
    expect(inside(listener).sockets.size).toBe(0);
  });

  test("has an end, however patient it is with a peer", async () => {
    const deadlines = { leaveTimeoutMs: 600_000, flushTimeoutMs: 100, followTimeoutMs: 100 };
    const listener = await new Station({ deadlines }).listening();
    const peer = await (await RawPeer.dial(listener.port)).enter();
    (await peer.raw()).pause();
    const { link } = await listener.take("up");
    for (let sent = 0; sent < 120; sent++) listener.transport.send(link, new Uint8Array(65_000));
    await listener.transport.stop();
    expect(inside(listener).sockets.size).toBe(0);
  });

  test("lets nobody in any more, and may be called twice", async () => {
    const listener = await new Station().listening();
    await idle(listener.port);
    await Promise.all([listener.transport.stop(), listener.transport.stop()]);
    expect((await new Station().dial(listener))?.reason).toBe("refused");
    expect(listener.events).toEqual([]);
  });
});

const openssl = Bun.which("openssl");
describe("openssl s_client", () => {
  async function connect(...flags: string[]): Promise<string> {
    const listener = await new Station().listening();
    const command = ["openssl", "s_client", "-connect", `${LOOPBACK}:${listener.port}`, ...flags];
    const child = Bun.spawn(command, { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
    const output = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
    return output.join("\n");
  }

  test.skipIf(openssl === null)("gets through with TLS 1.3 (skipped without openssl)", async () => {
    const output = await connect("-tls1_3");
    expect(output).toContain("TLSv1.3");
    expect(output).toContain("CN = p2pchat");
  });

  test.skipIf(openssl === null)("is refused with TLS 1.2 (skipped without openssl)", async () => {
    const output = await connect("-tls1_2");
    expect(output).toContain("alert protocol version");
    expect(output).not.toContain("BEGIN CERTIFICATE");
  });
});

const sslscan = Bun.which("sslscan");
test.skipIf(sslscan === null)("sslscan finds TLS 1.3 and nothing older (skipped without sslscan)", async () => {
  const listener = await new Station().listening();
  const command = ["sslscan", "--no-colour", "--xml=-", "--no-heartbleed", `${LOOPBACK}:${listener.port}`];
  const xml = await new Response(Bun.spawn(command, { stdout: "pipe", stderr: "ignore" }).stdout).text();
  const found = [...xml.matchAll(/<protocol type="(\w+)" version="([\d.]+)" enabled="(\d)"/g)];
  const enabled = found.filter(([, , , flag]) => flag === "1").map(([, type, version]) => `${type} ${version}`);
  expect(found.length).toBeGreaterThan(4);
  expect(enabled).toEqual(["tls 1.3"]);
  // No cipher of an older version, nothing compressed, nothing renegotiated.
  const ciphers = [...xml.matchAll(/<cipher [^>]*sslversion="([^"]+)"/g)].map(([, version]) => version);
  expect(ciphers.length).toBeGreaterThan(0);
  expect(new Set(ciphers)).toEqual(new Set(["TLSv1.3"]));
  expect(xml).not.toContain('<compression supported="1"');
});
