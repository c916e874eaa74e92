import { main } from "./lib/cli.ts";

process.exitCode = await main(Bun.argv.slice(2));
// A connection attempt that was given up goes on in the kernel for minutes and cannot be ended; it shall not hold us.
setTimeout(() => process.exit(), 500).unref();
