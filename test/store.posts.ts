/** Posts for the tests of the store. They are not signed: the store does not ask. */
import { encodeTexts, type Post, PostKind, type RoomId, sealPost } from "../lib/codec/post.ts";
import { identityOf, type Secrets } from "../lib/identity.ts";

export const ROOM: RoomId = "a1".repeat(16);

/** The posts of one session: 0 an `add`, then texts. */
export function postsBy(secrets: Secrets, session: number, room = ROOM): (seq: number) => Post {
  const { member } = identityOf(secrets);
  return seq =>
    sealPost(
      room,
      {
        author: member,
        session,
        seq,
        clock: session * 1_000 + seq,
        kind: seq === 0 ? PostKind.add : PostKind.text,
        body: encodeTexts([`text ${seq} `.repeat(20)]),
      },
      () => new Uint8Array(64),
    );
}
