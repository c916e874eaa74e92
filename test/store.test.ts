import { Database } from "bun:sqlite";
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Post } from "../lib/codec/post.ts";
import { newSecrets } from "../lib/identity.ts";
import { StoreError } from "../lib/store/files.ts";
import { Store } from "../lib/store.ts";
import { postsBy, ROOM } from "./store.posts.ts";

// On a busy machine processes and sockets take their time.
setDefaultTimeout(60_000);

const OTHER_ROOM = "b2".repeat(16);
const SESSION = 1_700_000_000_000;

let temporary = "";
let directory = "";
let path = "";
let stores: Store[] = [];
let children: Bun.Subprocess[] = [];

beforeEach(() => {
  temporary = mkdtempSync(join(tmpdir(), "p2pchat-store-"));
  directory = temporary;
  path = join(directory, "alice.sqlite");
});

afterEach(async () => {
  for (const store of stores) store.close();
  for (const child of children) child.kill("SIGKILL");
  await Promise.all(children.map(child => child.exited));
  stores = [];
  children = [];
  rmSync(temporary, { recursive: true, force: true });
});

function open(name = "alice", onTrouble?: (message: string) => void): Store {
  const store = Store.open(directory, name, onTrouble);
  stores.push(store);
  return store;
}

/** What `Store.open` throws. */
function refusal(): StoreError {
  try {
    open();
  } catch (error) {
    if (error instanceof StoreError) return error;
    throw error;
  }
  throw new Error("the store opened");
}

/** A closed store with `count` posts of one session, and the keys in it. */
function filled(count: number): { readonly signing: Uint8Array; readonly posts: readonly Post[] } {
  const store = open();
  const post = postsBy(store.secrets(), store.nextSession(SESSION));
  const posts = Array.from({ length: count }, (_, seq) => post(seq));
  for (const each of posts) store.append(ROOM, each);
  store.close();
  return { signing: store.secrets().signing, posts };
}

function change(sql: string, ...values: (Uint8Array | number)[]): void {
  using database = new Database(path);
  database.run(sql, values);
}

function modeOf(file: string): number {
  return statSync(file).mode & 0o777;
}

function numbers(posts: readonly Post[]): number[] {
  return posts.map(post => post.seq);
}

/** Another process with a store in `directory`, and its lines. */
function spawnChild(task: "hold" | "write", prefix: readonly string[] = [], session = 1) {
  const command = [...prefix, process.execPath, join(import.meta.dir, "store.child.ts"), task, directory, `${session}`];
  const child = Bun.spawn(command, { stdout: "pipe", stderr: "inherit" });
  children.push(child);
  return { child, lines: linesOf(child.stdout) };
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let rest = "";
  const decoder = new TextDecoder();
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    // A line that was cut by the kill was not promised.
    rest = lines.pop() ?? "";
    yield* lines;
  }
}

describe("the identity", () => {
  test("is made once and stays", () => {
    const store = open();
    const secrets = store.secrets();
    store.close();
    expect(open().secrets()).toEqual(secrets);
  });

  test("is another one for another name", () => {
    expect(open("alice").secrets()).not.toEqual(open("bob").secrets());
  });

  test("of a name that no file system takes gets a file all the same", () => {
    const long = "\u00fc".repeat(200);
    const secrets = open(long).secrets();
    stores.pop()?.close();
    expect(open(long).secrets()).toEqual(secrets);
    expect(open("a/../b").secrets()).not.toEqual(secrets);
    expect(existsSync(join(directory, "b.sqlite"))).toBe(false);
  });

  test("never uses a session twice, whatever the clock says", () => {
    const store = open();
    expect(store.nextSession(SESSION)).toBe(SESSION);
    expect(store.nextSession(SESSION)).toBe(SESSION + 1);
    store.close();
    expect(open().nextSession(SESSION - 5_000)).toBe(SESSION + 2);
  });

  test("has its session stored before it is told", () => {
    open().nextSession(SESSION);
    using reader = new Database(path, { readonly: true });
    expect(reader.query("SELECT session FROM identity").get()).toEqual({ session: SESSION });
  });
});

describe("history", () => {
  test("comes back byte for byte, in the order of the clocks", () => {
    const store = open();
    const [mine, theirs] = [postsBy(store.secrets(), 2), postsBy(newSecrets(), 1)];
    const posts = [theirs(0), theirs(1), mine(0), mine(1), mine(2)];
    for (const post of posts.toReversed()) store.append(ROOM, post);
    store.close();
    expect(open().recent(ROOM, 100)).toEqual(posts);
  });

  test("of one room is not that of another", () => {
    const store = open();
    store.append(ROOM, postsBy(store.secrets(), 1)(0));
    store.append(OTHER_ROOM, postsBy(store.secrets(), 2, OTHER_ROOM)(0));
    expect(store.recent(OTHER_ROOM, 100).map(post => post.session)).toEqual([2]);
    expect(store.recent("c3".repeat(16), 100)).toEqual([]);
  });

  test("is the latest posts, and post 0 of every session among them", () => {
    const store = open();
    const [early, late] = [postsBy(newSecrets(), 1), postsBy(newSecrets(), 2)];
    for (let seq = 0; seq < 10; seq++) store.append(ROOM, early(seq));
    for (let seq = 0; seq < 10; seq++) store.append(ROOM, late(seq));
    expect(numbers(store.recent(ROOM, 13))).toEqual([0, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(numbers(store.recent(ROOM, 3))).toEqual([0, 7, 8, 9]);
  });

  test("keeps one post a number", () => {
    const store = open();
    const post = postsBy(store.secrets(), 1)(0);
    store.append(ROOM, post);
    store.append(ROOM, new Post(Buffer.concat([post.frame.subarray(0, -1), Buffer.of(1)])));
    store.flush();
    store.append(ROOM, post);
    expect(store.recent(ROOM, 10)).toEqual([post]);
  });

  test("leaves out rows that do not decode, what lies before a gap, and sessions without their first post", () => {
    filled(10);
    const other = postsBy(newSecrets(), SESSION + 1);
    const store = open();
    for (const seq of [1, 2]) store.append(ROOM, other(seq));
    store.close();
    change("UPDATE posts SET bytes = ? WHERE seq = 9", Buffer.from("rubbish"));
    change("DELETE FROM posts WHERE seq = 5");
    expect(numbers(open().recent(ROOM, 100))).toEqual([0, 6, 7, 8]);
  });

  test("is written in one transaction a flush", () => {
    const store = open();
    const post = postsBy(store.secrets(), 1);
    using reader = new Database(path, { readonly: true });
    const count = () => reader.query("SELECT count(*) AS n FROM posts").get();
    for (let seq = 0; seq < 100; seq++) store.append(ROOM, post(seq));
    expect(count()).toEqual({ n: 0 });
    const before = statSync(`${path}-wal`).size;
    store.flush();
    expect(count()).toEqual({ n: 100 });
    // A transaction a post would write several pages of 4 KiB for each.
    expect(statSync(`${path}-wal`).size - before).toBeLessThan(100 * 4096);
  });

  test("is written by itself before the queue grows large", () => {
    const store = open();
    const posts = postsBy(store.secrets(), 1);
    for (let seq = 0; seq < 5_000; seq++) store.append(ROOM, posts(seq));
    using reader = new Database(path, { readonly: true });
    expect(reader.query("SELECT count(*) AS n FROM posts").get()).toEqual({ n: 4_096 });
  });

  test("can be read by another process meanwhile", () => {
    const store = open();
    store.append(ROOM, postsBy(store.secrets(), 1)(0));
    store.flush();
    const script = `const { Database } = require("bun:sqlite");
      console.log(new Database(${JSON.stringify(path)}, { readonly: true }).query("SELECT kind FROM posts").get().kind)`;
    const reader = Bun.spawnSync([process.execPath, "-e", script]);
    expect(reader.stdout.toString()).toBe("2\n");
  });

  test("waits, and is not lost, while another program writes to the database", () => {
    const troubles: string[] = [];
    const store = open("alice", message => troubles.push(message));
    using other = new Database(path);
    other.run("BEGIN IMMEDIATE");
    store.append(ROOM, postsBy(store.secrets(), 1)(0));
    store.flush();
    other.run("COMMIT");
    expect(store.recent(ROOM, 10)).toHaveLength(1);
    expect(troubles).toEqual([]);
  });
});

describe("people", () => {
  const address = { host: "192.168.1.20", port: 55107 };

  test("keep the key they were first seen with", () => {
    const store = open();
    const [first, second] = [newSecrets().signing, newSecrets().signing];
    store.remember({ room: ROOM, name: "bob", publicKey: first, addresses: [address], seen: 1 });
    store.remember({ room: ROOM, name: "bob", publicKey: second, addresses: [address], seen: 2 });
    expect(new Uint8Array(store.contact("bob") ?? [])).toEqual(new Uint8Array(first));
    expect(store.contact("carol")).toBeUndefined();
  });

  test("of a room are found again, the last seen first, where they were last seen", () => {
    const store = open();
    const [bob, carol, dave] = [newSecrets().signing, newSecrets().signing, newSecrets().signing];
    const elsewhere = { host: "10.0.0.5", port: 1 };
    store.remember({ room: ROOM, name: "bob", publicKey: bob, addresses: [address], seen: 1 });
    store.remember({ room: ROOM, name: "carol", publicKey: carol, addresses: [address], seen: 2 });
    store.remember({ room: ROOM, name: "bob", publicKey: bob, addresses: [elsewhere], seen: 3 });
    store.remember({ room: OTHER_ROOM, name: "dave", publicKey: dave, addresses: [address], seen: 4 });
    store.close();
    const members = open().members(ROOM);
    expect(members.map(member => member.addresses)).toEqual([[elsewhere], [address]]);
    expect(members.map(member => Buffer.from(member.publicKey).equals(bob))).toEqual([true, false]);
  });

  test("come back to the room that was entered last", () => {
    const store = open();
    expect(store.lastRoom()).toBeUndefined();
    store.enter(ROOM, 1);
    store.enter(OTHER_ROOM, 2);
    store.append("c3".repeat(16), postsBy(store.secrets(), 1)(0));
    store.close();
    expect(open().lastRoom()).toBe(OTHER_ROOM);
  });
});

describe("a volatile store", () => {
  test("has keys and sessions and remembers nothing", () => {
    const store = Store.volatile();
    expect(store.secrets()).toBe(store.secrets());
    expect(store.nextSession(SESSION)).toBe(SESSION);
    expect(store.nextSession(SESSION)).toBe(SESSION + 1);
    store.append(ROOM, postsBy(store.secrets(), 1)(0));
    store.enter(ROOM, 1);
    store.remember({ room: ROOM, name: "bob", publicKey: newSecrets().signing, addresses: [], seen: 1 });
    store.flush();
    expect([store.recent(ROOM, 1), store.members(ROOM), store.lastRoom(), store.contact("bob")]).toEqual([
      [],
      [],
      undefined,
      undefined,
    ]);
    store.close();
  });
});

describe("nobody else", () => {
  test("may enter the directory or read the files, from the start", () => {
    directory = join(directory, "deep", "p2pchat");
    const store = open();
    store.nextSession(SESSION);
    expect(modeOf(directory)).toBe(0o700);
    for (const file of ["alice.sqlite", "alice.sqlite-wal", "alice.sqlite-shm", "alice.lock"])
      expect(`${file} ${modeOf(join(directory, file)).toString(8)}`).toBe(`${file} 600`);
  });

  test("may any longer, where somebody could", () => {
    filled(1);
    chmodSync(directory, 0o755);
    for (const file of [path, join(directory, "alice.lock")]) chmodSync(file, 0o644);
    open();
    expect([directory, path, join(directory, "alice.lock")].map(modeOf)).toEqual([0o700, 0o600, 0o600]);
  });

  test("loses access to a directory that holds other things", () => {
    writeFileSync(join(directory, "notes.txt"), "");
    chmodSync(directory, 0o755);
    open();
    expect(modeOf(directory)).toBe(0o755);
    expect(modeOf(path)).toBe(0o600);
  });

  test("may write where the identity is", () => {
    writeFileSync(join(directory, "notes.txt"), "");
    chmodSync(directory, 0o777);
    const { fault, message } = refusal();
    expect(fault).toBe("permission");
    expect(message).toBe(
      `nothing is kept in this run: ${directory} can be written by others; use a directory of your own`,
    );
  });
});

describe("a second start of one identity", () => {
  const held = () => "alice is in use: another p2pchat runs with this identity on this machine";

  test("is refused in the same process and in another one, until the first is closed", async () => {
    const store = open();
    expect(refusal()).toMatchObject({ fault: "locked", message: held() });
    const second = spawnChild("hold");
    expect((await second.lines.next()).value).toBe(`locked ${held()}`);
    // The refused ones must not have taken the lock away.
    expect(refusal().fault).toBe("locked");
    store.close();
    open();
  });

  test("is refused while another process runs, and works once that was killed", async () => {
    const { child, lines } = spawnChild("hold");
    expect((await lines.next()).value).toStartWith("open ");
    expect(refusal()).toMatchObject({ fault: "locked", message: held() });
    open("bob");
    child.kill("SIGKILL");
    await child.exited;
    open();
  });
});

describe("a store that is claimed", () => {
  test("is locked at once, and opened when something is asked of it", () => {
    filled(1);
    const store = Store.claim(directory, "alice");
    expect(existsSync(`${path}-wal`)).toBe(false);
    expect(refusal().fault).toBe("locked");
    const secrets = store.secrets();
    expect(existsSync(`${path}-wal`)).toBe(true);
    store.close();
    expect(open().secrets()).toEqual(secrets);
  });

  test("for the first time is made at once", () => {
    const store = Store.claim(directory, "alice");
    expect(existsSync(path)).toBe(true);
    store.close();
  });

  test("and was asked for nothing is let go of as it was", () => {
    const { signing } = filled(1);
    const store = Store.claim(directory, "alice");
    store.close();
    store.openIfPending();
    expect(existsSync(`${path}-wal`)).toBe(false);
    expect(open().secrets().signing).toEqual(signing);
  });

  test("and does not open says so once, keeps nothing, and is the same member all the same", () => {
    const { signing } = filled(500);
    truncateSync(path, statSync(path).size - 50_000);
    const told: string[] = [];
    const store = Store.claim(directory, "alice", message => told.push(message));
    expect(told).toEqual([]);
    store.set("theme", "dark");
    expect(store.nextSession(SESSION)).toBe(SESSION + 1);
    expect(store.secrets().signing).toEqual(signing);
    expect(store.setting("theme")).toBeUndefined();
    expect(store.trouble).toBe("nothing is kept in this run");
    expect(told).toEqual([`no history is kept in this run: ${path} is damaged or cut short`]);
    store.close();
  });
});

describe("the lock", () => {
  test("outlives the last reference to its store", () => {
    (() => {
      Store.open(directory, "alice");
    })();
    Bun.gc(true);
    expect(refusal().fault).toBe("locked");
  });
});

describe("kill -9", () => {
  test("at any moment leaves a database that opens, with every flushed post", async () => {
    let signing = "";
    for (let session = 1; session <= 12; session++) {
      const { child, lines } = spawnChild("write", [], session);
      let promised = -1;
      for await (const line of lines) {
        const [word = "", value = ""] = line.split(" ");
        if (word === "open") {
          if (signing !== "") expect(value).toBe(signing);
          signing = value;
        } else {
          expect(word).toBe("kept");
          promised = Number(value);
        }
        if (promised >= session * 40) child.kill("SIGKILL");
      }
      const store = open();
      const kept = store.recent(ROOM, 100_000).filter(post => post.session === session);
      store.close();
      expect(kept.length).toBeGreaterThan(promised);
      expect(numbers(kept)).toEqual(kept.map((_, index) => index));
    }
  });
});

describe("a database that does not open", () => {
  const nothing = "nothing is kept in this run:";
  const noHistory = "no history is kept in this run:";

  test("because it is no database", () => {
    writeFileSync(path, "hello ".repeat(1_000));
    expect(refusal()).toMatchObject({ fault: "foreign", message: `${nothing} ${path} is not a database` });
    expect(readFileSync(path, "utf8")).toStartWith("hello hello");
  });

  test("because it belongs to another program", () => {
    change("CREATE TABLE theirs (a)");
    const message = `${nothing} ${path} is a database of another program`;
    expect(refusal()).toMatchObject({ fault: "foreign", message });
    change("PRAGMA application_id = 77");
    expect(refusal()).toMatchObject({ fault: "foreign", message });
  });

  test("because a newer p2pchat wrote it", () => {
    filled(1);
    change("PRAGMA user_version = 99");
    const message = `${noHistory} ${path} was written by a newer p2pchat; update this one`;
    expect(refusal()).toMatchObject({ fault: "newer", message });
  });

  test("because it is truncated, which does not cost the name", () => {
    const { signing } = filled(500);
    truncateSync(path, statSync(path).size - 50_000);
    const error = refusal();
    expect(error).toMatchObject({
      fault: "damaged",
      message: `${noHistory} ${path} is damaged or cut short`,
    });
    const store = Store.volatile(error.kept);
    expect(store.secrets().signing).toEqual(signing);
    expect(store.nextSession(SESSION)).toBe(SESSION + 1);
  });

  test("because hardly anything is left of it", () => {
    filled(1);
    truncateSync(path, 50);
    expect(refusal()).toMatchObject({ fault: "damaged", message: `${nothing} ${path} is damaged or cut short` });
  });

  test("because it is a directory", () => {
    mkdirSync(path, { mode: 0o700 });
    expect(refusal()).toMatchObject({ fault: "permission", message: `${nothing} you may not read and write ${path}` });
  });

  test("because its directory is a file", () => {
    writeFileSync(join(directory, "file"), "");
    directory = join(directory, "file");
    expect(refusal().message).toBe(`${nothing} ${directory}/alice.sqlite is not in a directory`);
  });

  test.skipIf(process.getuid?.() === 0)("because one may not write it", () => {
    filled(1);
    chmodSync(path, 0o400);
    expect(refusal()).toMatchObject({
      fault: "permission",
      message: `${noHistory} you may not read and write ${path}`,
    });
  });

  test("but is empty is a new one: a process was killed when it had just made it", () => {
    writeFileSync(path, "");
    open().nextSession(SESSION);
  });

  test("is as closed as before: nobody holds its lock", () => {
    writeFileSync(path, "hello ".repeat(1_000));
    refusal();
    rmSync(path);
    open();
  });
});

describe("trouble later", () => {
  test("is told once, and nothing throws", () => {
    filled(3);
    // SQLite takes a file for read-only when its write version is not known: true for every user, root included.
    const bytes = readFileSync(path);
    bytes[18] = 9;
    writeFileSync(path, bytes);
    const troubles: string[] = [];
    const store = open("alice", message => troubles.push(message));
    expect(store.nextSession(SESSION)).toBe(SESSION + 1);
    store.append(ROOM, postsBy(store.secrets(), 1)(0));
    store.flush();
    expect(troubles).toEqual([`history is no longer kept: ${path} is read-only`]);
    expect(store.recent(ROOM, 10)).toHaveLength(3);
    store.close();
    store.append(ROOM, postsBy(store.secrets(), 1)(0));
    store.flush();
    expect(store.recent(ROOM, 10)).toEqual([]);
  });

  test("by damage in the middle is told when it is met", () => {
    filled(500);
    const bytes = readFileSync(path);
    // All but the first pages: schema, identity and rooms stay.
    bytes.fill(0xee, 10 * 4096);
    writeFileSync(path, bytes);
    const troubles: string[] = [];
    const store = open("alice", message => troubles.push(message));
    expect(store.recent(ROOM, 1_000)).toEqual([]);
    expect(troubles).toEqual([`history is no longer kept: ${path} is damaged or cut short`]);
  });

  test("by a limit on the size of files leaves what was kept", async () => {
    const { lines } = spawnChild("write", ["sh", "-c", `trap "" XFSZ; ulimit -f 600; exec "$@"`, "sh"], 7);
    const said = await Array.fromAsync(lines);
    const kept = said.filter(line => line.startsWith("kept ")).length;
    expect(kept).toBeGreaterThan(10);
    expect(said.slice(-2)).toEqual([
      `trouble history is no longer kept: ${path} cannot be used (disk I/O error)`,
      "closed",
    ]);
    expect(open().recent(ROOM, 100_000).length).toBeGreaterThanOrEqual((kept - 1) * 3 + 1);
  });

  const tmpfs = ["unshare", "-rm", "sh", "-c", `mount -t tmpfs -o size=600k none "$0" && exec "$@"`];
  const canMount = Bun.which("unshare") !== null && Bun.spawnSync([...tmpfs, "/mnt", "true"]).exitCode === 0;
  test.skipIf(!canMount)("by a full disk is told in these words", async () => {
    const { lines } = spawnChild("write", [...tmpfs, directory]);
    const said = await Array.fromAsync(lines);
    expect(said.slice(-2)).toEqual([`trouble history is no longer kept: no space is left for ${path}`, "closed"]);
  });
});
