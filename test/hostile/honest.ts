/** The parent's side of test/hostile/actors/member.ts. */
import { join } from "node:path";
import type { Command, Report } from "./actors/member.ts";

const ACTOR = join(import.meta.dir, "actors", "member.ts");

export class Honest {
  private readonly child: Bun.Subprocess;
  private readonly waiting = new Map<number, PromiseWithResolvers<unknown>>();
  private next = 1;

  private constructor(readonly name: string) {
    this.child = Bun.spawn([process.execPath, ACTOR], {
      stdout: "inherit",
      stderr: "inherit",
      ipc: ({ id, answer, error }: { id: number; answer?: unknown; error?: string }) => {
        const waiting = this.waiting.get(id);
        this.waiting.delete(id);
        if (error === undefined) waiting?.resolve(answer);
        else waiting?.reject(new Error(`${this.name}: ${error}`));
      },
      onExit: () => {
        for (const { reject } of this.waiting.values()) reject(new Error(`${this.name} has ended`));
      },
    });
  }

  /** Opens a room, or joins one. Resolves with the member and its port. */
  static async open(name: string, port?: number): Promise<[Honest, number]> {
    const honest = new Honest(name);
    const listening = await honest.tell({ do: "open", name, ...(port !== undefined && { port }) });
    return [honest, listening as number];
  }

  tell(command: Command): Promise<unknown> {
    const id = this.next++;
    const waiting = Promise.withResolvers<unknown>();
    this.waiting.set(id, waiting);
    this.child.send({ id, command });
    return waiting.promise;
  }

  async report(): Promise<Report> {
    return (await this.tell({ do: "report" })) as Report;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill("SIGKILL");
    await this.child.exited;
  }
}
