import { afterEach, expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Chat } from "../../lib/chat.ts";

// On a busy machine processes and sockets take their time.
setDefaultTimeout(60_000);

const directory = mkdtempSync(join(tmpdir(), "p2pchat-bot-"));
let tidy: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  await Promise.all(tidy.map(run => run()));
  tidy = [];
  rmSync(directory, { recursive: true, force: true });
});

test("the example greets, rolls when it is asked to, and leaves when it is told to", async () => {
  // The program as it is now, without building it.
  const program = join(directory, "p2pchat");
  writeFileSync(program, `#!/bin/sh\nexec '${process.execPath}' '${join(import.meta.dir, "../../index.ts")}' "$@"\n`);
  chmodSync(program, 0o755);

  const alice = await Chat.open({ name: "Alice", host: "127.0.0.1" });
  tidy.push(() => alice.leave());
  const said: string[] = [];
  const left = Promise.withResolvers<void>();
  alice.subscribe(events => {
    for (const event of events) {
      if (event.event === "leave") left.resolve();
      if (event.event !== "message" || event.own) continue;
      said.push(`${event.name}: ${event.text}`);
      if (event.text.startsWith("Hello")) alice.say("!roll");
      if (event.text.startsWith("Alice rolls")) alice.say("!leave");
    }
  });
  const command = [process.execPath, join(import.meta.dir, "bot.ts"), program, "Dice", "127.0.0.1"];
  const bot = Bun.spawn([...command, String(alice.listensAt), "--host", "127.0.0.1"], {
    stdout: "inherit",
    stderr: "inherit",
  });
  tidy.push(() => {
    bot.kill("SIGKILL");
    return bot.exited;
  });
  await left.promise;
  expect(await bot.exited).toBe(0);
  expect(said).toEqual([
    "Dice: Hello Alice, say !roll and I roll.",
    expect.stringMatching(/^Dice: Alice rolls [1-6]$/),
  ]);
});
