/**
 * When what runs is worth compiling. The program starts with a patient compiler (`--compile-jit-policy`, package.json): what each
 * link and each member of a room runs some dozen times is not worth 5 MB of it. What is said is, once there is enough of it.
 */
import type { ChatControl } from "./ui/view.ts";

/** Turns in which somebody said something: five seconds of a script, an evening of people. */
const COMPILED_AFTER_TURNS = 500;

/**
 * Has Bun compile as it would by itself, from when there is enough talk. To be called when the front listens to the chat, since
 * what has happened so far is for whoever listens first.
 */
export function compileWhatIsBusy(
  chat: Pick<ChatControl, "subscribe">,
  setPolicy: (scale: number) => void = Bun.unsafe.setJITPolicy,
): void {
  let turns = 0;
  const stop = chat.subscribe(events => {
    if (events.some(event => event.event === "message" && !event.history)) turns += 1;
    if (turns < COMPILED_AFTER_TURNS) return;
    setPolicy(1);
    stop();
  });
}
