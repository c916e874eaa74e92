/** Listens with TLS, says so, and keeps whoever connects. */
import { makeCertificate } from "../../../lib/net/certificate.ts";

const listener = Bun.listen({
  hostname: "127.0.0.1",
  port: 0,
  socket: { data: () => {} },
  tls: await makeCertificate(),
});
await Bun.write(Bun.stdout, `listening at ${listener.port}\n`);
