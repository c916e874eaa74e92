/** Listens, says so, and does nothing else. */
const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => {} } });
await Bun.write(Bun.stdout, `listening at ${listener.port}\n`);
