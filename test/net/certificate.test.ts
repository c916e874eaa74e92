import { expect, test } from "bun:test";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { makeCertificate } from "../../lib/net/certificate.ts";

test("a certificate is well-formed X.509, signed by its own key", async () => {
  // Two integers of a signature and the serial number change their length with their leading bits, hence many.
  for (let round = 0; round < 300; round++) {
    const { key, cert } = await makeCertificate();
    const certificate = new X509Certificate(cert);
    expect(certificate.verify(certificate.publicKey)).toBe(true);
    expect(certificate.checkPrivateKey(createPrivateKey(key))).toBe(true);
  }
});

test("a certificate names nobody and does not expire", async () => {
  const certificate = new X509Certificate((await makeCertificate()).cert);
  expect(certificate.subject).toBe("CN=p2pchat");
  expect(certificate.issuer).toBe("CN=p2pchat");
  expect(new Date(certificate.validFrom).getTime()).toBeLessThan(Date.now());
  expect(new Date(certificate.validTo).getUTCFullYear()).toBe(9999);
  expect(certificate.publicKey.asymmetricKeyDetails).toEqual({ namedCurve: "prime256v1" });
});

test("no two certificates are alike", async () => {
  const [one, other] = [
    new X509Certificate((await makeCertificate()).cert),
    new X509Certificate((await makeCertificate()).cert),
  ];
  expect(one.serialNumber).not.toBe(other.serialNumber);
  expect(one.fingerprint256).not.toBe(other.fingerprint256);
  expect(one.checkPrivateKey(createPrivateKey((await makeCertificate()).key))).toBe(false);
});
