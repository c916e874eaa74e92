/**
 * The terminal front over a fake chat, to run in a PTY. A unix socket ($FIXTURE_SOCKET) brings batches of events, one JSON
 * array a line, and takes what the user did, one JSON string a line.
 */

import { runTerminal } from "../../lib/ui/terminal.ts";
import type { ChatEvent } from "../../lib/ui/view.ts";
import { FakeChat, member } from "./fake-chat.ts";

const chat = new FakeChat();
const { FIXTURE_NAME = "Alice", FIXTURE_SOCKET = "", FIXTURE_TIME, FIXTURE_TYPED } = process.env;
if (FIXTURE_TYPED !== undefined) chat.typed.push(...FIXTURE_TYPED.split("\n"));
chat.name = FIXTURE_NAME;
let rest = "";
const socket = await Bun.connect({
  unix: FIXTURE_SOCKET,
  socket: {
    data(_socket, bytes) {
      const lines = (rest + bytes.toString()).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) deliver(JSON.parse(line) as ChatEvent[]);
    },
  },
});
chat.onDone = entry => socket.write(`${JSON.stringify(entry)}\n`);

/** An empty batch ends the chat. */
function deliver(events: ChatEvent[]): void {
  for (const event of events) {
    if (event.event === "join") chat.others.push(member(event.name));
  }
  if (events.length === 0) void chat.leave();
  else chat.emit(...events);
}

// That the window was closed must be seen without it, too.
process.on("SIGHUP", () => {});
const end = await runTerminal(chat, FIXTURE_TIME === "12" ? { time: FIXTURE_TIME } : {});
socket.write(`${JSON.stringify(`end ${end}`)}\n`);
socket.end();
