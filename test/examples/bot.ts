/**
 * A bot in thirty lines: it rolls dice for whoever says "!roll". All it needs of p2pchat is the program and two pipes.
 *
 *   bun test/examples/bot.ts ./p2pchat Dice localhost 55107
 */
const [program = "./p2pchat", ...words] = Bun.argv.slice(2);
const chat = Bun.spawn([program, ...words, "--json", "--volatile"], {
  stdin: "pipe",
  stdout: "pipe",
  stderr: "inherit",
});

function say(text: string): void {
  chat.stdin.write(`${JSON.stringify({ command: "say", text })}\n`);
  chat.stdin.flush();
}

/** One event a line, in order. */
async function* events() {
  let rest = "";
  for await (const text of chat.stdout.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) yield JSON.parse(line);
  }
}

for await (const { event, name, text, own, history } of events()) {
  if (event === "join") say(`Hello ${name}, say !roll and I roll.`);
  // What was said before it came, or by itself, is not for it to answer.
  if (event !== "message" || own || history) continue;
  if (text === "!roll") say(`${name} rolls ${1 + Math.floor(Math.random() * 6)}`);
  if (text === "!leave") chat.stdin.end();
}
process.exitCode = await chat.exited;
