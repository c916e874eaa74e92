import { main } from "./lib/cli.ts";

process.exitCode = await main(Bun.argv.slice(2));
