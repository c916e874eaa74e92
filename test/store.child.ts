/**
 * A process of its own for test/store.test.ts: `hold` keeps a store open until it is killed, `write` appends posts until
 * it is killed or told of trouble. What it prints is what it has promised to keep.
 */
import { StoreError } from "../lib/store/files.ts";
import { Store } from "../lib/store.ts";
import { postsBy, ROOM } from "./store.posts.ts";

const [task = "", directory = "", session = "1"] = Bun.argv.slice(2);
let troubled = false;

function say(line: string): void {
  console.log(line);
}

try {
  const store = Store.open(directory, "alice", message => {
    troubled = true;
    say(`trouble ${message}`);
  });
  say(`open ${Buffer.from(store.secrets().signing).toString("hex")}`);
  if (task === "write") {
    const posts = postsBy(store.secrets(), Number(session));
    for (let seq = 0; !troubled; seq++) {
      store.append(ROOM, posts(seq));
      if (seq % 3 === 0) {
        store.flush();
        if (!troubled) say(`kept ${seq}`);
      }
      if (seq % 30 === 0) await Bun.sleep(0);
    }
    // It goes on, without history.
    store.append(ROOM, posts(0));
    store.flush();
    store.close();
    say("closed");
  } else {
    setInterval(() => {}, 1_000_000);
  }
} catch (error) {
  if (!(error instanceof StoreError)) throw error;
  say(`${error.fault} ${error.message}`);
}
