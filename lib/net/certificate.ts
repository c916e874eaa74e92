/**
 * A throw-away certificate for TLS: self-signed X.509 v3 on P-256, made when the first connection comes and never stored.
 *
 * It proves nothing and names nobody: who a peer is, the signed handshake inside shows (handshake.ts). TLS needs one all
 * the same. Made with WebCrypto and a few lines of DER, since `node:crypto` and `node:tls` would cost several
 * milliseconds of start-up and neither can issue a certificate anyway.
 */

/** PEM, as Bun's `tls` option takes them. */
export interface Certificate {
  readonly key: string;
  readonly cert: string;
}

/**
 * A certificate whose key nobody has any more, for those who dial: naming a `ca` keeps Bun from reading the 150 it knows
 * (4 ms, 2 MiB). Nothing is believed for its sake: who answers is proved inside (handshake.ts).
 */
export const NOBODY = `-----BEGIN CERTIFICATE-----
MIIBGzCBwaADAgECAgkA3tZLPEiETSUwCgYIKoZIzj0EAwIwEjEQMA4GA1UEAwwH
cDJwY2hhdDAgFw0yMDAxMDEwMDAwMDBaGA85OTk5MTIzMTIzNTk1OVowEjEQMA4G
A1UEAwwHcDJwY2hhdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABHYYLj/LJqql
dZN6Xo1sd26OSIswTO+M7WYJlsYbbX14I2a20by4NvUhW9nxWdMDV7PsD2cHvv7E
LuqvdfqkrKowCgYIKoZIzj0EAwIDSQAwRgIhANSER1Gs902yROhaFtl9XCgJ0NDh
WH02ODi+jgSqcop0AiEA64cZI+Q2dZXoYn0IMs32EhgUAEmtaYV9h2byL4/Qp88=
-----END CERTIFICATE-----
`;

const SEQUENCE = 0x30;
const SET = 0x31;
const EXPLICIT_0 = 0xa0;
const INTEGER = 0x02;
const BIT_STRING = 0x03;
const OCTET_STRING = 0x04;
const UTF8_STRING = 0x0c;
const UTC_TIME = 0x17;
const GENERALIZED_TIME = 0x18;

const COMMON_NAME = Buffer.from("0603550403", "hex");
const ECDSA_WITH_SHA256 = Buffer.from("300a06082a8648ce3d040302", "hex");
const EC_P256 = Buffer.from("301306072a8648ce3d020106082a8648ce3d030107", "hex");
const VERSION_0 = Buffer.from("020100", "hex");
const VERSION_1 = Buffer.from("020101", "hex");
const VERSION_3 = Buffer.from("020102", "hex");
const SERIAL_BYTES = 8;
const P256 = { name: "ECDSA", namedCurve: "P-256" } as const;

/** Makes a key and a certificate for it; takes about a millisecond. */
export async function makeCertificate(): Promise<Certificate> {
  const pair = await crypto.subtle.generateKey(P256, true, ["sign", "verify"]);
  const { d = "", x = "", y = "" } = await crypto.subtle.exportKey("jwk", pair.privateKey);
  const body = certificateBody(publicKeyOf(x, y));
  const raw = await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, pair.privateKey, body);
  const certificate = der(SEQUENCE, body, ECDSA_WITH_SHA256, der(BIT_STRING, Buffer.of(0), signatureOf(raw)));
  return { key: pem("PRIVATE KEY", privateKeyOf(d)), cert: pem("CERTIFICATE", certificate) };
}

/** TBSCertificate (RFC 5280, 4.1). The validity is fixed: no peer looks at it, and a wrong wall clock must not matter. */
function certificateBody(publicKey: Buffer): Buffer<ArrayBuffer> {
  const name = der(SEQUENCE, der(SET, der(SEQUENCE, COMMON_NAME, der(UTF8_STRING, Buffer.from("p2pchat")))));
  return der(
    SEQUENCE,
    der(EXPLICIT_0, VERSION_3),
    unsigned(crypto.getRandomValues(Buffer.alloc(SERIAL_BYTES))),
    ECDSA_WITH_SHA256,
    name,
    // RFC 5280, 4.1.2.5: two digits of the year up to 2049, then four; this end means "none".
    der(SEQUENCE, der(UTC_TIME, Buffer.from("200101000000Z")), der(GENERALIZED_TIME, Buffer.from("99991231235959Z"))),
    name,
    publicKey,
  );
}

/** SubjectPublicKeyInfo (RFC 5480, 2), the point uncompressed. */
function publicKeyOf(x: string, y: string): Buffer {
  const point = Buffer.concat([Buffer.of(0, 4), Buffer.from(x, "base64url"), Buffer.from(y, "base64url")]);
  return der(SEQUENCE, EC_P256, der(BIT_STRING, point));
}

/** PrivateKeyInfo (RFC 5208, 5) around an ECPrivateKey (RFC 5915, 3), which need not name the public half. */
function privateKeyOf(d: string): Buffer {
  const key = der(SEQUENCE, VERSION_1, der(OCTET_STRING, Buffer.from(d, "base64url")));
  return der(SEQUENCE, VERSION_0, EC_P256, der(OCTET_STRING, key));
}

/** WebCrypto signs as r ‖ s; X.509 wants a sequence of two integers (RFC 3279, 2.2.3). */
function signatureOf(raw: ArrayBuffer): Buffer {
  const half = raw.byteLength / 2;
  return der(SEQUENCE, unsigned(Buffer.from(raw, 0, half)), unsigned(Buffer.from(raw, half)));
}

/** DER integers have no needless leading zero, and one where the top bit would make them negative. */
function unsigned(bytes: Buffer): Buffer {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start++;
  const digits = bytes.subarray(start);
  return der(INTEGER, (digits[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.of(0), digits]) : digits);
}

function der(tag: number, ...parts: readonly Buffer[]): Buffer<ArrayBuffer> {
  const content = Buffer.concat(parts);
  const { length } = content;
  const header =
    length < 0x80
      ? Buffer.of(tag, length)
      : length < 0x100
        ? Buffer.of(tag, 0x81, length)
        : Buffer.of(tag, 0x82, length >> 8, length & 0xff);
  return Buffer.concat([header, content]);
}

function pem(label: string, bytes: Buffer): string {
  const lines = bytes.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}
