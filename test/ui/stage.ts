/** The fixture in a terminal, and the other end of its socket. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import type { ChatEvent } from "../../lib/ui/view.ts";
import { Terminal, type TerminalSetup } from "../e2e/terminal.ts";

const fixture = new URL("fixture.ts", import.meta.url).pathname;

export class Stage {
  /** What the user did, in order: see FakeChat, and at last `end <why>`. */
  readonly done: string[] = [];
  #queue: Buffer = Buffer.alloc(0);
  readonly #watchers = new Set<() => void>();

  /** `prompt`: what shows that the program is ready. */
  static async open({ prompt = /›/, ...setup }: TerminalSetup & { readonly prompt?: RegExp } = {}): Promise<Stage> {
    const directory = await mkdtemp(`${tmpdir()}/p2pchat-stage-`);
    const path = `${directory}/socket`;
    const connected = Promise.withResolvers<Bun.Socket>();
    const received: { take: (bytes: Buffer) => void; drain: () => void } = { take: () => {}, drain: () => {} };
    const listener = Bun.listen({
      unix: path,
      socket: {
        open: socket => connected.resolve(socket),
        data: (_socket, bytes) => received.take(bytes),
        drain: () => received.drain(),
      },
    });
    const terminal = Terminal.start([process.execPath, fixture], {
      ...setup,
      env: { FIXTURE_SOCKET: path, ...setup.env },
    });
    const socket = await connected.promise;
    const stage = new Stage(terminal, socket, async () => {
      listener.stop(true);
      await rm(directory, { recursive: true });
    });
    let rest = "";
    received.take = bytes => {
      const lines = (rest + bytes.toString()).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) stage.done.push(JSON.parse(line) as string);
      for (const look of [...stage.#watchers]) look();
    };
    received.drain = () => stage.#flush();
    await terminal.until(prompt, "the prompt");
    return stage;
  }

  private constructor(
    readonly terminal: Terminal,
    readonly socket: Bun.Socket,
    readonly tidy: () => Promise<void>,
  ) {}

  /** One batch of events. */
  emit(...events: ChatEvent[]): void {
    this.#queue = Buffer.concat([this.#queue, Buffer.from(`${JSON.stringify(events)}\n`)]);
    this.#flush();
  }

  #flush(): void {
    this.#queue = this.#queue.subarray(Math.max(0, this.socket.write(this.#queue)));
  }

  /** Resolves once the user has done what `entry` says. */
  async hasDone(entry: string | RegExp): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const is = (done: string) => (typeof entry === "string" ? done === entry : entry.test(done));
    const look = () => this.done.some(is) && resolve();
    const timer = setTimeout(() => {
      const done = JSON.stringify(this.done).slice(0, 2_000);
      reject(new Error(`never done: ${String(entry).slice(0, 200)}\ndone: ${done}\n${this.terminal}`));
    }, 15_000);
    this.#watchers.add(look);
    look();
    await promise.finally(() => {
      clearTimeout(timer);
      this.#watchers.delete(look);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.terminal[Symbol.asyncDispose]();
    await this.tidy();
  }
}
