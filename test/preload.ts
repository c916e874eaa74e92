// Loaded before every test file (bunfig.toml): no test may touch the real home, or depend on the colours of a terminal.
import { afterAll } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const home = mkdtempSync(join(tmpdir(), "p2pchat-home-"));
Object.assign(process.env, { NO_COLOR: "1", HOME: home });
for (const name of ["FORCE_COLOR", "XDG_DATA_HOME", "P2PCHAT_KEY"]) delete process.env[name];

afterAll(() => rmSync(home, { recursive: true, force: true }));
