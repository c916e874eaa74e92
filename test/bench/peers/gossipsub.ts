/**
 * js-libp2p with gossipsub and all its defaults: TCP, noise, yamux, every message signed and checked.
 */
import { noise } from "@chainsafe/libp2p-noise";
import { yamux } from "@chainsafe/libp2p-yamux";
import { gossipsub } from "@libp2p/gossipsub";
import { identify } from "@libp2p/identify";
import { tcp } from "@libp2p/tcp";
import { multiaddr } from "@multiformats/multiaddr";
import { createLibp2p } from "libp2p";
import { runMember } from "../actors/room.ts";
import { WindowedRoom } from "./window.ts";

const TOPIC = "room";
const WINDOW_TEXTS = 512;

await runMember(async ({ ports }, hear) => {
  const node = await createLibp2p({
    addresses: { listen: ["/ip4/127.0.0.1/tcp/0"] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    // By default it refuses the sixth connection from one host within a second.
    connectionManager: { inboundConnectionThreshold: 100 },
    services: { identify: identify(), pubsub: gossipsub() },
  });
  const { pubsub } = node.services;
  const port = Number(/\/tcp\/(\d+)/.exec(String(node.getMultiaddrs()[0]))?.[1]);
  const encoder = new TextEncoder();
  const decoder = new TextDecoder();
  const room = new WindowedRoom(
    port,
    node.peerId.toString(),
    WINDOW_TEXTS,
    // Nobody has subscribed yet: the greeting is repeated.
    text => void pubsub.publish(TOPIC, encoder.encode(text)).catch(() => {}),
    hear,
    () => node.stop(),
  );
  pubsub.addEventListener("message", ({ detail }) => {
    if (detail.type === "signed") room.onTexts(detail.from.toString(), [decoder.decode(detail.data)]);
  });
  pubsub.subscribe(TOPIC);
  for (const other of ports) await node.dial(multiaddr(`/ip4/127.0.0.1/tcp/${other}`));
  return room;
});
