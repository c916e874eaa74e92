/**
 * What a front remembers between two lines: whom one talks to, whom one would reply to, how times are shown.
 */
import { ChatError } from "../errors.ts";
import { Times } from "./times.ts";
import type { ChatControl, ChatEvent } from "./view.ts";

interface Partner {
  /** 16 hex digits. */
  readonly member: string;
  readonly name: string;
}

export class Talk {
  /** Plain lines go to this member only. */
  partner: Partner | undefined;
  private lastDirect: Partner | undefined;

  constructor(
    readonly chat: ChatControl,
    readonly times: Times = new Times(),
    /** Looks for the reason why one may see nobody, and tells it by and by. */
    readonly doctor?: () => unknown,
    /** What /help says first. */
    readonly tip = "Anything else is said to everybody; //x says /x.",
  ) {}

  /** To be told of all events. */
  hear(events: readonly ChatEvent[]): void {
    for (const event of events) {
      if (event.event === "direct" && !event.own) this.lastDirect = { member: event.member, name: event.name };
      else if (event.event === "rename" && event.member === this.partner?.member)
        this.partner = { member: event.member, name: event.to };
    }
  }

  /** A line that is no command. */
  say(text: string): void {
    if (this.partner === undefined) this.chat.say(text);
    else this.tell(this.partner, text, "; /query alone talks to all again");
  }

  reply(text: string): void {
    if (this.lastDirect === undefined)
      throw new ChatError(
        "no_such_member",
        "nobody has written to you alone yet; /msg <name> <text> writes to somebody",
      );
    this.tell(this.lastDirect, text);
  }

  /** Lines go to this member from now on; to all without a name. */
  converse(name: string | undefined): Partner | undefined {
    if (name === undefined) this.partner = undefined;
    else {
      const { present, member, name: shown } = this.chat.whois(name);
      if (present === null) throw new ChatError("no_such_member", `${shown} is not here`);
      if (present.self) throw new ChatError("no_such_member", `${shown} is you`);
      this.partner = { member, name: shown };
    }
    return this.partner;
  }

  private tell({ member, name }: Partner, text: string, advice = ""): void {
    if (!this.chat.members().some(other => other.member === member))
      throw new ChatError("no_such_member", `${name} is not here any more${advice}`);
    this.chat.direct(member, text);
  }
}

/** What a person is told who is alone after these events; of a loss the node itself tells. */
export function solitude(events: readonly ChatEvent[], present: number): ChatEvent[] {
  const last = events.findLast(({ event }) => event === "join" || event === "leave");
  if (present > 1 || last?.event !== "leave" || last.reason === "lost") return [];
  return [{ event: "notice", level: "info", message: "nobody else is here: what you say is kept until someone is" }];
}
