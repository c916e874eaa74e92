/**
 * Other programs that do something of the kind, side by side: only with `--peers`, and only those that are installed.
 */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Options } from "./measure.ts";
import { BENCH, end, environment, scratchDirectory, track, withDeadline } from "./processes.ts";
import type { Contender, Server } from "./rooms.ts";

const PEERS = join(BENCH, "peers");
/** Where Debian puts servers, which is not on everybody's path. */
const { PATH: ownPath = "" } = Bun.env;
const PATH = `${ownPath}:/usr/sbin:/usr/local/sbin`;
const START_TIMEOUT_MS = 10_000;
const CONNECT_EVERY_MS = 20;

interface ServerProgram {
  readonly name: string;
  readonly program: string;
  readonly dialect: "irc" | "mqtt" | "nats";
  readonly share: number;
  /** Its arguments; what it needs to read is written into the directory. */
  argv(port: number, directory: string): readonly string[];
}

const SERVERS: readonly ServerProgram[] = [
  {
    name: "NATS",
    program: "nats-server",
    dialect: "nats",
    share: 1,
    argv: port => ["-a", "127.0.0.1", "-p", String(port)],
  },
  {
    name: "ngIRCd",
    program: "ngircd",
    dialect: "irc",
    share: 0.3,
    argv: (port, directory) => {
      const lines = [
        "[Global]",
        "Name = irc.bench.test",
        "Info = bench",
        "Listen = 127.0.0.1",
        `Ports = ${port}`,
        "MotdPhrase = bench",
        ...(process.getuid?.() === 0 ? ["ServerUID = root", "ServerGID = root"] : []),
        "[Limits]",
        "MaxConnectionsIP = 0",
        "MaxPenaltyTime = 0",
        "MaxNickLength = 31",
        "[Options]",
        "DNS = no",
        "Ident = no",
        "PAM = no",
      ];
      return ["-n", "-f", written(directory, lines)];
    },
  },
  {
    name: "InspIRCd",
    program: "inspircd",
    dialect: "irc",
    share: 0.3,
    argv: (port, directory) => {
      const lines = [
        `<config format="xml">`,
        `<server name="irc.bench.test" description="bench" network="bench" id="1BE">`,
        `<admin name="bench" email="bench@bench.test" nick="bench">`,
        `<bind address="127.0.0.1" port="${port}" type="clients">`,
        `<connect allow="*" fakelag="no" commandrate="1000000000" threshold="1000000" hardsendq="100M" softsendq="100M"`,
        ` recvq="10M" maxlocal="100" maxglobal="100" limit="100" resolvehostnames="no" timeout="10" pingfreq="120">`,
        `<path configdir="${directory}" datadir="${directory}" logdir="${directory}" runtimedir="${directory}">`,
        `<pid file="${directory}/pid">`,
        `<performance quietbursts="yes" netbuffersize="65534" somaxconn="128" softlimit="100">`,
        `<log method="file" type="*" level="default" target="${directory}/log">`,
      ];
      const asRoot = process.getuid?.() === 0 ? ["--runasroot"] : [];
      return ["--nofork", ...asRoot, "--config", written(directory, lines)];
    },
  },
  {
    name: "Mosquitto",
    program: "mosquitto",
    dialect: "mqtt",
    share: 0.1,
    argv: (port, directory) => {
      const lines = [`listener ${port} 127.0.0.1`, "allow_anonymous true", "max_queued_messages 0", "log_dest none"];
      const asRoot = process.getuid?.() === 0 ? ["user root"] : [];
      return ["-c", written(directory, [...lines, ...asRoot])];
    },
  },
];

function written(directory: string, lines: readonly string[]): string {
  const path = join(directory, "bench.conf");
  writeFileSync(path, `${lines.join("\n")}\n`);
  return path;
}

const LIBRARIES: readonly (Contender & { readonly needs: string })[] = [
  {
    name: "gossipsub",
    script: join(PEERS, "gossipsub.ts"),
    variant: "",
    share: 0.005,
    needs: "@libp2p/gossipsub",
  },
  {
    name: "secret-stream",
    script: join(PEERS, "secret-stream.ts"),
    variant: "",
    share: 0.5,
    needs: "@hyperswarm/secret-stream",
  },
];

/** All of them; one that is not installed fails with just that when it is to start. */
export function peersFor({ peers }: Options): readonly Contender[] {
  if (!peers) return [];
  const libraries = LIBRARIES.map(({ needs, ...contender }) =>
    existsSync(join(PEERS, "node_modules", needs)) ? contender : { ...contender, serve: notInstalled },
  );
  const servers = SERVERS.map(({ name, program, dialect, share, argv }): Contender => {
    const path = Bun.which(program, { PATH });
    const serve = path === null ? notInstalled : () => startServer(path, argv);
    return { name, script: join(PEERS, "client.ts"), variant: dialect, share, serve };
  });
  return [...libraries, ...servers];
}

async function notInstalled(): Promise<Server> {
  throw new Error("not installed");
}

async function startServer(path: string, argv: ServerProgram["argv"]): Promise<Server> {
  const directory = scratchDirectory("server");
  mkdirSync(directory, { recursive: true });
  const port = freePort();
  const child = track(
    Bun.spawn([path, ...argv(port, directory)], {
      cwd: directory,
      env: environment(),
      stdio: ["ignore", "ignore", "ignore"],
    }),
  );
  const gone = child.exited.then(code => {
    throw new Error(`${path} ended with ${code}`);
  });
  gone.catch(() => {});
  await withDeadline(Promise.race([accepting(port), gone]), START_TIMEOUT_MS, `${path} does not accept connections`);
  return { port, pid: child.pid, end: () => end(child) };
}

/** One that the system has just given and taken back. */
function freePort(): number {
  const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => {} } });
  const { port } = listener;
  listener.stop(true);
  return port;
}

/** A server does not tell when it is ready, so it is tried. */
async function accepting(port: number): Promise<void> {
  for (;;) {
    try {
      const socket = await Bun.connect({ hostname: "127.0.0.1", port, socket: { data: () => {}, error: () => {} } });
      socket.terminate();
      return;
    } catch {
      await Bun.sleep(CONNECT_EVERY_MS);
    }
  }
}
