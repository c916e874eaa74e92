/**
 * Discovery between machines: network namespaces that stand for them, joined by cables (veth) of their own. Nothing can
 * leave those. Where the system does not allow namespaces, the reason is printed and nothing is tested.
 */
import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

// On a busy machine processes and sockets take their time.
setDefaultTimeout(60_000);

const program = [process.execPath, join(import.meta.dir, "..", "index.ts")];
const PORT = 27_108;
const [LEFT, MIDDLE, RIGHT] = ["left", "middle", "right"].map(name => `p2p-${process.pid}-${name}`) as [
  string,
  string,
  string,
];
const home = mkdtempSync(join(tmpdir(), "p2pchat-netns-"));
const { PATH = "" } = process.env;
const environment = { PATH, HOME: home, P2PCHAT_DISCOVERY: `lan:${PORT}` };
let running: Bun.Subprocess[] = [];

/** What `ip` has to say against it; undefined where it has done it. */
function ip(command: string): string | undefined {
  try {
    const { exitCode, stderr } = Bun.spawnSync(["ip", ...command.split(" ")], { stdout: "ignore", stderr: "pipe" });
    return exitCode === 0 ? undefined : stderr.toString().trim();
  } catch (error) {
    return String(error);
  }
}

function reasonToSkip(): string | undefined {
  if (process.platform !== "linux") return "network namespaces are a thing of Linux";
  const probe = `p2p-${process.pid}-probe`;
  const trouble = ip(`netns add ${probe}`) ?? ip(`-n ${probe} link add name n1 type veth peer name n2`);
  ip(`netns del ${probe}`);
  return trouble;
}

/** left (10.91.1.1) — (10.91.1.2) middle (10.91.2.2) — (10.91.2.1) right */
function cable(from: string, to: string, network: string): string | undefined {
  return (
    ip(`link add ${network} netns ${from} type veth peer name ${network} netns ${to}`) ??
    ip(`-n ${from} addr add 10.91.${network.slice(1)}.1/24 dev ${network}`) ??
    ip(`-n ${to} addr add 10.91.${network.slice(1)}.2/24 dev ${network}`) ??
    ip(`-n ${from} link set ${network} up`) ??
    ip(`-n ${to} link set ${network} up`)
  );
}

const skipped = reasonToSkip();
if (skipped !== undefined) console.log(`discovery across machines is not tested: ${skipped}`);

function start(machine: string, ...argv: string[]) {
  const command = ["ip", "netns", "exec", machine, ...program, ...argv];
  const child = Bun.spawn(command, { env: environment, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  running.push(child);
  return child;
}

/** Opens a room, and waits until it listens. */
async function room(machine: string, name: string, ...argv: string[]): Promise<number> {
  const flags = ["--json", "--stay", "--volatile", "--discover", `lan:${PORT}`];
  const child = start(machine, name, ...flags, ...argv);
  const { value } = await child.stdout.getReader().read();
  return JSON.parse(new TextDecoder().decode(value).split("\n")[0] ?? "").port;
}

async function run(machine: string, ...argv: string[]) {
  const child = start(machine, ...argv);
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { status: await child.exited, stdout, stderr };
}

/** What is found, once all that is wanted is there: addresses of a fresh cable are not usable at once. */
async function list(machine: string, ...wanted: RegExp[]): Promise<string[]> {
  for (;;) {
    const { stdout } = await run(machine, "list", "--json");
    const rooms = stdout
      .split("\n")
      .filter(Boolean)
      .map(line => JSON.parse(line));
    const lines: string[] = rooms.map(({ names, addresses }) =>
      [names, ...addresses.map((at: { address: string }) => at.address)].join(" "),
    );
    if (wanted.every(pattern => lines.some(line => pattern.test(line)))) return lines.sort();
  }
}

describe.skipIf(skipped !== undefined)("machines on two networks", () => {
  beforeAll(() => {
    const trouble =
      [LEFT, MIDDLE, RIGHT].flatMap(
        machine => ip(`netns add ${machine}`) ?? ip(`-n ${machine} link set lo up`) ?? [],
      )[0] ??
      cable(LEFT, MIDDLE, "n1") ??
      cable(RIGHT, MIDDLE, "n2");
    if (trouble !== undefined) throw new Error(trouble);
  });

  afterEach(async () => {
    for (const child of running) child.kill("SIGKILL");
    await Promise.all(running.map(child => child.exited));
    running = [];
  });

  afterAll(() => {
    for (const machine of [LEFT, MIDDLE, RIGHT]) ip(`netns del ${machine}`);
    rmSync(home, { recursive: true, force: true });
  });

  test("find who has a card on theirs, by the address on theirs, and nobody beyond", async () => {
    await room(MIDDLE, "Mia");
    await room(RIGHT, "Rob");
    expect(await list(LEFT, /^Mia 10\.91\.1\.2 fe80::[^ ]+%n1$/)).toHaveLength(1);
    await list(RIGHT, /^Mia 10\.91\.2\.2 fe80::[^ ]+%n2$/);
    // Herself by every way there is.
    expect(await list(MIDDLE, /^Mia 127\.0\.0\.1 10\.91/, /^Rob 10\.91\.2\.1 fe80::[^ ]+%n2$/)).toHaveLength(2);
  });

  test("meet in a private room by its words alone", async () => {
    await room(MIDDLE, "Mia", "--key", "four quite unusual words");
    const { status, stdout, stderr } = await run(LEFT, "Leo", "four quite unusual words", "--plain", "--volatile");
    expect([status, stderr]).toEqual([0, ""]);
    expect(stdout).toContain(">INFO: Mia joined.");
  });

  test("are told by the doctor what each card does", async () => {
    const port = await room(RIGHT, "Rob");
    await list(MIDDLE, /^Rob/);
    const { stdout } = await run(MIDDLE, "doctor");
    for (const line of ["n1  10.91.1.2  beacon works", "n2  10.91.2.2  beacon works"]) expect(stdout).toContain(line);
    expect(stdout).toMatch(/n1 {2}fe80::\S+ {2}beacon works/);
    expect(stdout.trimEnd().split("\n").at(-1)).toBe(`./p2pchat <name> 10.91.2.1 ${port}`);
  });

  test("find each other by IPv6 where there is nothing else", async () => {
    for (const [machine, address] of [
      [LEFT, "10.91.1.1"],
      [MIDDLE, "10.91.1.2"],
    ] as const)
      ip(`-n ${machine} addr del ${address}/24 dev n1`);
    await room(MIDDLE, "Mia", "--key", "four quite unusual words");
    expect(await list(LEFT, /^Mia fe80::[^ ]+%n1$/)).toHaveLength(1);
    const { status, stdout } = await run(LEFT, "Leo", "four quite unusual words", "--plain", "--volatile");
    expect([status, stdout]).toEqual([0, expect.stringContaining(">INFO: Mia joined.")]);
  });
});
