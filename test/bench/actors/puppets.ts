/**
 * Links to a node with hardly anybody behind them: for what a link, and a member, costs the node in memory and CPU time.
 *
 * A puppet is linked and answers pings, and says nothing, not even its own name, so it is a link and no member. The first
 * puppet can introduce members that nobody is linked to, all properly signed.
 */
import { encode } from "../../../lib/codec/message.ts";
import { encodeIntroduction, PostKind, type RoomId, sealPost } from "../../../lib/codec/post.ts";
import { type Identity, identityOf, newSecrets } from "../../../lib/identity.ts";
import { Transport } from "../../../lib/net/transport.ts";
import { answerWith } from "./ipc.ts";

export type PuppetQuestions = {
  /** Answers when so many more links are up. */
  readonly link: { readonly ask: { readonly port: number; readonly links: number }; readonly answer: undefined };
  /** TLS alone, with nothing on it. */
  readonly connect: { readonly ask: { readonly port: number; readonly links: number }; readonly answer: undefined };
  /** Introduces so many more members over the first link. */
  readonly introduce: { readonly ask: { readonly members: number }; readonly answer: undefined };
};

const DIAL = 0;
let room: RoomId | undefined;
let first: Transport | undefined;
/** Kept, so that they stay open. */
const sockets: Bun.Socket<undefined>[] = [];

async function linkTo(port: number, index: number): Promise<void> {
  const identity = identityOf(newSecrets());
  const session = Date.now();
  const up = Promise.withResolvers<void>();
  const transport: Transport = new Transport({
    identity,
    session: () => session,
    name: () => `Puppet${index}`,
    // A member of the room already, so that no name is asked for.
    room: () => room ?? "0".repeat(32),
    handlers: {
      knock: () => {},
      up: (_link, _peer, _dialled, id) => {
        room = id;
        up.resolve();
      },
      message: (link, message) => {
        if (message.type === "ping") transport.send(link, encode({ type: "pong", token: message.token }));
      },
      drained: () => {},
      down: () => up.reject(new Error("a link went down")),
      dialFailed: (_link, { message }) => up.reject(new Error(message)),
    },
  });
  first ??= transport;
  transport.dial(DIAL, [{ host: "127.0.0.1", port }]);
  await up.promise;
}

function introductionOf(identity: Identity, index: number): Buffer {
  const { publicKey, sealKey, member } = identity;
  const body = encodeIntroduction({ name: `Member${index}`, publicKey, sealKey, port: 0, hosts: [] });
  const session = Date.now();
  const head = { author: member, session, seq: 0, clock: session * 1000, kind: PostKind.add, body };
  return encode({ type: "post", post: sealPost(room ?? "", head, identity.sign) });
}

let links = 0;
let members = 0;

answerWith<PuppetQuestions>({
  link: async ({ port, links: more }) => {
    for (let i = 0; i < more; i += 1) {
      await linkTo(port, links);
      links += 1;
    }
  },
  connect: async ({ port, links: more }) => {
    for (let i = 0; i < more; i += 1) {
      const secured = Promise.withResolvers<void>();
      const socket = { data: () => {}, handshake: () => secured.resolve() };
      const tls = { rejectUnauthorized: false };
      sockets.push(await Bun.connect<undefined>({ hostname: "127.0.0.1", port, data: undefined, socket, tls }));
      await secured.promise;
    }
  },
  introduce: ({ members: more }) => {
    for (let i = 0; i < more; i += 1) {
      first?.send(DIAL, introductionOf(identityOf(newSecrets()), members));
      members += 1;
    }
  },
});
