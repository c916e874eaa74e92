/** The least a compiled program can do: one line on stdout. */
await Bun.write(Bun.stdout, "hello\n");
