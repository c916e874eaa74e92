/** The handshake as a state machine: no socket, the exporter values are made up. */
import { describe, expect, test } from "bun:test";
import { FRAME_HEADER_BYTES } from "../../lib/codec/frame.ts";
import { type Credentials, decode, encode, type Message, NO_ROOM, type RefusalInfo } from "../../lib/codec/message.ts";
import { decodePost, POST_HEADER_BYTES, SIGNATURE_BYTES } from "../../lib/codec/post.ts";
import { PeerError } from "../../lib/errors.ts";
import { Handshake, type Input, type Role, type Self, type State, TRANSITIONS } from "../../lib/net/handshake.ts";
import { newIdentity, OTHER_ROOM, ROOM, selfOf } from "./world.ts";

const EXPORTER = Buffer.alloc(32, 7);
const KEY = Buffer.alloc(32, 0x42);
const REFUSAL: RefusalInfo = { reason: "full", suggestion: "", addresses: [] };

const alice = selfOf({ name: "Alice" });
const bob = selfOf({ name: "Bob", room: NO_ROOM });

function messageOf(frame: Buffer | undefined): Message {
  if (frame === undefined) throw new Error("no frame");
  return decode(frame);
}

function credentialsOf(frame: Buffer | undefined): Credentials {
  const message = messageOf(frame);
  if (message.type !== "hello" && message.type !== "welcome") throw new Error(`a ${message.type}`);
  return message.credentials;
}

function dialler(self: Self, exporter = EXPORTER, expect?: string): [Handshake, Buffer | undefined] {
  const handshake = new Handshake("dialler", self, "there", expect);
  return [handshake, handshake.secured(exporter)];
}

function listener(self: Self, exporter = EXPORTER): Handshake {
  const handshake = new Handshake("listener", self, "here");
  handshake.secured(exporter);
  return handshake;
}

/** The welcome that `self` gives to whoever comes first. */
function welcomeOf(self: Self, exporter = EXPORTER): Buffer {
  const handshake = listener(self, exporter);
  const guest = self.roomKey === undefined ? bob : selfOf({ name: "Bob", room: NO_ROOM, roomKey: self.roomKey });
  handshake.receive(messageOf(dialler(guest, exporter)[1]));
  return handshake.admit().frame;
}

/** What goes wrong, or "nothing". */
function faultOf(work: () => unknown): string {
  try {
    work();
    return "nothing";
  } catch (error) {
    return error instanceof PeerError ? error.fault : String(error);
  }
}

/** A handshake brought into `state`; those that its role cannot reach are undefined. */
function inState(role: Role, state: State): Handshake | undefined {
  const handshake = new Handshake(role, role === "dialler" ? bob : alice, "host");
  if (state === "securing") return handshake;
  handshake.secured(EXPORTER);
  if (state === "over") handshake.farewell("malformed");
  if (role === "dialler" && state === "up") handshake.receive(messageOf(welcomeOf(alice)));
  if (role === "listener" && (state === "knocking" || state === "up")) handshake.receive(messageOf(dialler(bob)[1]));
  if (role === "listener" && state === "up") handshake.admit();
  return handshake.state === state ? handshake : undefined;
}

describe("the table of states", () => {
  const states: State[] = ["securing", "asking", "awaiting", "knocking", "up", "over"];
  const messages: Record<string, Message> = {
    hello: messageOf(dialler(bob)[1]),
    welcome: messageOf(welcomeOf(alice)),
    refuse: { type: "refuse", ...REFUSAL },
    post: { type: "post", post: decodePost(Buffer.alloc(POST_HEADER_BYTES + SIGNATURE_BYTES)) },
    have: { type: "have", scope: "news", entries: [] },
    want: { type: "want", entries: [] },
    prune: { type: "prune", streams: [] },
    ping: { type: "ping", token: 1 },
    pong: { type: "pong", token: 1 },
    bye: { type: "bye", reason: "leaving" },
    compare: { type: "compare", digest: Buffer.alloc(8) },
  };
  const inputOf = (name: string): Input =>
    name === "hello" || name === "welcome" || name === "refuse" ? name : "talk";

  for (const role of ["dialler", "listener"] as const) {
    for (const state of states) {
      if (inState(role, state) === undefined) {
        test(`a ${role} is never ${state}`, () => {
          expect(TRANSITIONS[role][state]).toEqual({});
        });
        continue;
      }
      for (const [name, message] of Object.entries(messages)) {
        const next = TRANSITIONS[role][state][inputOf(name)];
        test(`a ${role} that is ${state} ${next ? `is ${next} after` : "takes no"} ${name}`, () => {
          const handshake = inState(role, state);
          expect(faultOf(() => handshake?.receive(message))).toBe(next ? "nothing" : "out_of_turn");
          expect(handshake?.state).toBe(next ?? state);
        });
      }
      for (const input of ["secured", "admit", "turn_away"] as const) {
        const next = TRANSITIONS[role][state][input];
        test(`a ${role} that is ${state} ${next ? `is ${next} after` : "asserts against"} ${input}`, () => {
          const handshake = inState(role, state);
          const work = {
            secured: () => handshake?.secured(EXPORTER),
            admit: () => handshake?.admit(),
            turn_away: () => handshake?.turnAway(REFUSAL),
          }[input];
          if (next === undefined) expect(work).toThrow("assertion failed");
          else expect(faultOf(work)).toBe("nothing");
          expect(handshake?.state).toBe(next ?? state);
        });
      }
    }
  }
});

test("both ends know the same of each other", () => {
  const [calling, hello] = dialler(bob);
  const answering = listener(alice);
  const knock = answering.receive(messageOf(hello));
  expect(knock).toEqual({
    type: "knock",
    peer: {
      member: bob.identity.member,
      publicKey: new Uint8Array(bob.identity.publicKey),
      session: bob.session(),
      name: "Bob",
      host: "here",
      joining: true,
    },
  });
  const admitted = answering.admit();
  expect(admitted.room).toBe(ROOM);
  expect(calling.receive(messageOf(admitted.frame))).toEqual({
    type: "up",
    room: ROOM,
    peer: {
      member: alice.identity.member,
      publicKey: new Uint8Array(alice.identity.publicKey),
      session: alice.session(),
      name: "Alice",
      host: "there",
      joining: false,
    },
  });
});

test("the frames of a handshake fit the limit that holds before it", () => {
  const long = selfOf({ name: "🦀".repeat(32), roomKey: KEY });
  expect(dialler(long)[1]?.length).toBeLessThan(1024);
});

describe("a forged field", () => {
  const stranger = newIdentity();
  const forgeries: Record<string, Partial<Credentials>> = {
    room: { room: NO_ROOM },
    publicKey: { publicKey: stranger.publicKey },
    session: { session: 1 },
    name: { name: "Eve" },
    signature: { signature: Buffer.alloc(64, 1) },
  };
  for (const [field, forged] of Object.entries(forgeries)) {
    for (const role of ["hello", "welcome"] as const) {
      test(`${field} in a ${role} is found out`, () => {
        const host = selfOf({ room: ROOM });
        const guest = selfOf({ room: ROOM });
        const honest = credentialsOf(role === "hello" ? dialler(guest)[1] : welcomeOf(host));
        const receiver = role === "hello" ? listener(host) : dialler(guest)[0];
        const before = receiver.state;
        const forgery = { type: role, credentials: { ...honest, ...forged } } as const;
        expect(faultOf(() => receiver.receive(forgery))).toBe("bad_binding");
        expect(receiver.state).toBe(before);
      });
      test(`${field} in a ${role} of a private room is found out by its mac`, () => {
        const host = selfOf({ room: ROOM, roomKey: KEY });
        const guest = selfOf({ room: ROOM, roomKey: KEY });
        const honest = credentialsOf(role === "hello" ? dialler(guest)[1] : welcomeOf(host));
        const receiver = role === "hello" ? listener(host) : dialler(guest)[0];
        const forgery = { type: role, credentials: { ...honest, ...forged } } as const;
        // The signature is not under the mac: that one is found out by itself.
        expect(faultOf(() => receiver.receive(forgery))).toBe(field === "signature" ? "bad_binding" : "wrong_key");
      });
    }
  }

  test("version is found out before anything else is read", () => {
    const [, hello] = dialler(bob);
    const frame = Buffer.from(hello ?? []);
    frame[FRAME_HEADER_BYTES + 1 + 4] = 1;
    expect(faultOf(() => messageOf(frame))).toBe("bad_version");
  });

  test("magic is found out before the version", () => {
    const frame = Buffer.from(dialler(bob)[1] ?? []);
    frame[FRAME_HEADER_BYTES + 1] = 0;
    expect(faultOf(() => messageOf(frame))).toBe("not_p2pchat");
  });
});

describe("an introduction", () => {
  test("of another connection is refused by a listener", () => {
    const [, hello] = dialler(bob, Buffer.alloc(32, 1));
    expect(faultOf(() => listener(alice).receive(messageOf(hello)))).toBe("bad_binding");
  });

  test("of another connection is refused by a dialler", () => {
    const [calling] = dialler(bob);
    const welcome = welcomeOf(alice, Buffer.alloc(32, 1));
    expect(faultOf(() => calling.receive(messageOf(welcome)))).toBe("bad_binding");
  });

  test("that is reflected in the other role proves nothing", () => {
    const hello = credentialsOf(dialler(selfOf({ room: ROOM }))[1]);
    const [calling] = dialler(bob);
    expect(faultOf(() => calling.receive({ type: "welcome", credentials: hello }))).toBe("bad_binding");
    const welcome = credentialsOf(welcomeOf(alice));
    const answering = listener(selfOf({ room: ROOM }));
    expect(faultOf(() => answering.receive({ type: "hello", credentials: welcome }))).toBe("bad_binding");
  });

  test("that is reflected to its author is its own key", () => {
    const [calling, hello] = dialler(alice);
    expect(faultOf(() => calling.receive({ type: "welcome", credentials: credentialsOf(hello) }))).toBe("own_key");
  });

  test("that is reflected in a private room does not even prove the key", () => {
    const guest = selfOf({ room: ROOM, roomKey: KEY });
    const [calling, hello] = dialler(guest);
    expect(faultOf(() => calling.receive({ type: "welcome", credentials: credentialsOf(hello) }))).toBe("wrong_key");
  });
});

describe("a private room", () => {
  const keys = { none: undefined, right: KEY, wrong: Buffer.alloc(32, 0x43) };

  for (const [hosts, hostKey] of Object.entries(keys)) {
    for (const [guests, guestKey] of Object.entries(keys)) {
      const same = hosts === guests;
      test(`a listener with ${hosts} key and a dialler with ${guests} ${same ? "meet" : "do not meet"}`, () => {
        const host = selfOf({ name: "Alice", roomKey: hostKey });
        const guest = selfOf({ name: "Bob", room: NO_ROOM, roomKey: guestKey });
        const answering = listener(host);
        const [calling, hello] = dialler(guest);
        expect(faultOf(() => answering.receive(messageOf(hello)))).toBe(same ? "nothing" : "wrong_key");
        expect(faultOf(() => calling.receive(messageOf(welcomeOf(host))))).toBe(same ? "nothing" : "wrong_key");
      });
    }
  }

  test("tells a stranger nothing but wrong_key, whatever else is wrong", () => {
    const host = selfOf({ roomKey: KEY });
    const strangers = [
      selfOf({ identity: host.identity, room: ROOM }),
      selfOf({ room: OTHER_ROOM }),
      selfOf({ room: OTHER_ROOM, roomKey: Buffer.alloc(32, 1) }),
      selfOf({ identity: host.identity, roomKey: Buffer.alloc(32, 1) }),
    ];
    for (const stranger of strangers) {
      const answering = listener(host);
      const hello = messageOf(dialler(stranger, Buffer.alloc(32, stranger.session() % 7))[1]);
      expect(faultOf(() => answering.receive(hello))).toBe("wrong_key");
      expect(answering.farewell("wrong_key")).toEqual(
        encode({ type: "refuse", reason: "wrong_key", suggestion: "", addresses: [] }),
      );
    }
  });

  test("a mac of the right key over another connection is no mac", () => {
    const guest = selfOf({ roomKey: KEY });
    const hello = messageOf(dialler(guest, Buffer.alloc(32, 1))[1]);
    expect(faultOf(() => listener(selfOf({ roomKey: KEY })).receive(hello))).toBe("wrong_key");
  });
});

describe("the room", () => {
  test("is the listener's for a dialler that has none", () => {
    const [calling] = dialler(bob);
    expect(calling.receive(messageOf(welcomeOf(alice)))).toMatchObject({ type: "up", room: ROOM });
  });

  test("of the dialler must be the listener's", () => {
    const hello = messageOf(dialler(selfOf({ room: OTHER_ROOM }))[1]);
    expect(faultOf(() => listener(alice).receive(hello))).toBe("wrong_room");
  });

  test("of the listener must be the dialler's", () => {
    const [calling] = dialler(selfOf({ room: OTHER_ROOM }));
    expect(faultOf(() => calling.receive(messageOf(welcomeOf(alice))))).toBe("wrong_room");
  });

  test("that a dialler has found meanwhile counts, not the one it asked for", () => {
    let room = NO_ROOM;
    const [calling] = dialler({ ...bob, room: () => room });
    room = OTHER_ROOM;
    expect(faultOf(() => calling.receive(messageOf(welcomeOf(alice))))).toBe("wrong_room");
  });

  test("is needed to let anybody in", () => {
    const hello = messageOf(dialler(bob)[1]);
    expect(faultOf(() => listener(selfOf({ room: NO_ROOM })).receive(hello))).toBe("wrong_room");
  });

  test("is none in no welcome", () => {
    const [calling] = dialler(bob);
    let room = ROOM;
    const roomless = listener({ ...alice, room: () => room });
    roomless.receive(messageOf(dialler(selfOf({ room: NO_ROOM }))[1]));
    room = NO_ROOM;
    const { frame } = roomless.admit();
    expect(faultOf(() => calling.receive(messageOf(frame)))).toBe("wrong_room");
  });
});

test("the own key is noticed by both ends", () => {
  const [calling, hello] = dialler(alice);
  const answering = listener(alice);
  expect(faultOf(() => answering.receive(messageOf(hello)))).toBe("own_key");
  expect(messageOf(answering.farewell("own_key"))).toMatchObject({ type: "refuse", reason: "own_key" });
  expect(faultOf(() => calling.receive(messageOf(welcomeOf(alice))))).toBe("own_key");
});

test("a dialler that expects somebody takes nobody else", () => {
  const [strict] = dialler(bob, EXPORTER, newIdentity().member);
  expect(faultOf(() => strict.receive(messageOf(welcomeOf(alice))))).toBe("wrong_peer");
  const [content] = dialler(bob, EXPORTER, alice.identity.member);
  expect(faultOf(() => content.receive(messageOf(welcomeOf(alice))))).toBe("nothing");
});

test("a refusal reaches the dialler whole", () => {
  const refusal: RefusalInfo = { reason: "name_taken", suggestion: "Bob2", addresses: [{ host: "h", port: 1 }] };
  const answering = listener(alice);
  const [calling, hello] = dialler(bob);
  answering.receive(messageOf(hello));
  expect(calling.receive(messageOf(answering.turnAway(refusal)))).toEqual({ type: "refused", refusal });
  expect([answering.state, calling.state]).toEqual(["over", "over"]);
});

describe("a farewell", () => {
  test("is a bye once the peer is known", () => {
    expect(messageOf(inState("listener", "up")?.farewell("malformed"))).toEqual({ type: "bye", reason: "fault" });
  });

  test("is nothing for faults that a refusal has no word for", () => {
    for (const fault of ["malformed", "too_large", "bad_binding", "out_of_turn", "not_p2pchat"] as const)
      expect(inState("listener", "awaiting")?.farewell(fault)).toBeUndefined();
  });

  test("is never said by a dialler that was not let in", () => {
    for (const fault of ["wrong_key", "own_key", "wrong_room", "bad_version"] as const)
      expect(inState("dialler", "asking")?.farewell(fault)).toBeUndefined();
  });
});
