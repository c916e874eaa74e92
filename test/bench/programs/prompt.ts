/** Clack imported and listening: what a terminal front cannot do without. */
import { intro } from "@clack/prompts";

const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => {} } });
intro(`listening at ${listener.port}`);
