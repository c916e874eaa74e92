/**
 * Hellos and welcomes that were true once, with a few bytes changed: nothing but a peer error comes of any of them, and none
 * but the true one opens the door.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { FRAME_HEADER_BYTES, FrameBuffer } from "../../lib/codec/frame.ts";
import { decode } from "../../lib/codec/message.ts";
import { PeerError } from "../../lib/errors.ts";
import { Handshake } from "../../lib/net/handshake.ts";
import { newIdentity, selfOf } from "../net/world.ts";
import { randomStream } from "../sim/random.ts";

// On a busy machine processes and sockets take their time.
setDefaultTimeout(60_000);

const INPUTS = 4_000;
const SEED = 1;
const EXPORTER = Buffer.alloc(32, 7);
const alice = selfOf({ name: "Alice", identity: newIdentity() });
const bob = selfOf({ name: "Bob", identity: newIdentity() });
const roomKey = Buffer.alloc(32, 5);

for (const isPrivate of [false, true])
  describe(isPrivate ? "in a private room" : "in an open room", () => {
    const key = isPrivate ? { roomKey } : {};
    /** A listener that waits for a hello, or a dialler that waits for a welcome, and the frame that it waits for. */
    const pair = (role: "listener" | "dialler") => {
      const listener = new Handshake("listener", { ...alice, ...key }, "192.0.2.1");
      const dialler = new Handshake("dialler", { ...bob, ...key }, "192.0.2.2");
      listener.secured(EXPORTER);
      const hello = Buffer.from(dialler.secured(EXPORTER) ?? []);
      if (role === "listener") return { waiting: listener, frame: hello };
      listener.receive(decode(hello));
      return { waiting: dialler, frame: Buffer.from(listener.admit().frame) };
    };

    for (const role of ["listener", "dialler"] as const)
      test(`${INPUTS} changed frames do not get past a ${role}`, () => {
        const random = randomStream(SEED, `handshake ${role} ${isPrivate}`);
        const below = (bound: number) => Math.floor(random() * bound);
        const faults = new Map<string, number>();
        for (let input = 0; input < INPUTS; input++) {
          const { waiting, frame } = pair(role);
          let changed = Buffer.from(frame);
          for (let left = 1 + below(3); left > 0; left--) {
            const at = below(changed.length);
            if (random() < 0.7) changed[at] = below(256);
            else if (random() < 0.5) changed = changed.subarray(0, at);
            else changed = Buffer.concat([changed.subarray(0, at), Buffer.of(below(256)), changed.subarray(at)]);
          }
          if (changed.length > FRAME_HEADER_BYTES && random() < 0.9)
            changed.writeUInt32BE(changed.length - FRAME_HEADER_BYTES, 0);
          if (changed.equals(frame)) continue;
          try {
            new FrameBuffer().push(changed, whole => {
              const { type } = waiting.receive(decode(whole));
              // A refusal can be made by anybody, and opens nothing.
              if (type !== "refused") throw new Error(`${type} by ${changed.toString("hex")}`);
            });
          } catch (error) {
            if (!(error instanceof PeerError)) throw error;
            faults.set(error.fault, (faults.get(error.fault) ?? 0) + 1);
          }
        }
        expect(faults.get(isPrivate ? "wrong_key" : "bad_binding")).toBeGreaterThan(INPUTS / 10);
        expect(faults.get("malformed")).toBeGreaterThan(INPUTS / 10);
      }, 60_000);
  });
