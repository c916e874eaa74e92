/**
 * Several members of one room in one process, each with its own sockets, and what all of them send, by frames and bytes.
 */
import { Chat } from "../../../lib/chat.ts";
import { Link } from "../../../lib/net/link.ts";
import { answerWith } from "./ipc.ts";

export type VillageQuestions = {
  /** One more member; without a port it opens the room. */
  readonly open: {
    readonly ask: { readonly name: string; readonly port?: number };
    readonly answer: { readonly port: number };
  };
  readonly say: { readonly ask: { readonly member: number; readonly text: string }; readonly answer: undefined };
  readonly look: { readonly ask: undefined; readonly answer: Look };
};

/** Over all members of this process. */
export interface Look {
  readonly frames: number;
  readonly bytes: number;
  readonly heard: number;
  readonly links: number;
  /** The fewest members that one of them sees. */
  readonly present: number;
}

const chats: Chat[] = [];
let [frames, bytes, heard] = [0, 0, 0];

const { send } = Link.prototype;
Link.prototype.send = function (frame) {
  frames += 1;
  bytes += frame.length;
  send.call(this, frame);
};

answerWith<VillageQuestions>({
  open: async ({ name, port }) => {
    const dial = port === undefined ? {} : { dial: { host: "127.0.0.1", port } };
    const chat = await Chat.open({ name, host: "127.0.0.1", ...dial });
    chat.subscribe(events => {
      for (const event of events) if (event.event === "message" && !event.own) heard += 1;
    });
    chats.push(chat);
    return { port: chat.listensAt };
  },
  say: ({ member, text }) => {
    chats[member]?.say(text);
  },
  look: () => {
    const rosters = chats.map(chat => chat.members());
    const links = rosters.flat().filter(member => member.linked).length;
    return { frames, bytes, heard, links, present: Math.min(...rosters.map(roster => roster.length)) };
  },
});
