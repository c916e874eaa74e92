/**
 * A member of a p2pchat room, by the library. Variant "stored" keeps its history in `data`.
 */
import { Chat } from "../../../lib/chat.ts";
import { runMember } from "./room.ts";

await runMember(async ({ name, ports, data, variant }, hear) => {
  const [port] = ports;
  const chat = await Chat.open({
    name,
    host: "127.0.0.1",
    ...(port !== undefined && { dial: { host: "127.0.0.1", port } }),
    ...(variant === "stored" && data !== undefined && { data }),
  });
  const listening = Promise.withResolvers<number>();
  chat.subscribe(events => {
    const texts: string[] = [];
    for (const event of events)
      if (event.event === "listening") listening.resolve(event.port);
      else if (event.event === "message" && !event.own) texts.push(event.text);
    if (texts.length > 0) hear(texts);
  });
  return {
    port: await listening.promise,
    say: text => chat.say(text),
    ready: () => chat.ready(),
    reaches: others => chat.members().filter(member => member.linked).length >= others,
    close: () => chat.leave(),
  };
});
