/** What every KeyManager must do. Called by the test of each. */
import { expect, test } from "bun:test";
import { createPrivateKey, createPublicKey, verify } from "node:crypto";
import { KEY_TYPES } from "#x509/signer.ts";
import type { KeyManager } from "./key-manager.ts";

export function keyManagerConformance(open: () => Promise<KeyManager>): void {
  test.each(KEY_TYPES.filter((type) => type !== "rsa-4096"))(
    "makes a %s key that signs for its public key",
    async (keyType) => {
      const key = await (await open()).generateKey("x509-CA-A", keyType);
      expect(key.id).toBe("x509-CA-A");
      expect(key.keyType).toBe(keyType);
      const data = new TextEncoder().encode("to be signed");
      const digest = keyType === "ec-p384" ? "sha384" : "sha256";
      expect(verify(digest, data, key.publicKey, await key.sign(data))).toBe(true);
      const spki = key.publicKey.export({ type: "spki", format: "der" });
      expect(Buffer.compare(spki, key.publicKeySpki)).toBe(0);
    },
  );

  test("gives the private key out as PKCS#8 PEM", async () => {
    const key = await (await open()).generateKey("agent-svid-A", "ec-p256");
    const pem = key.exportPrivateKeyPem();
    expect(pem).toStartWith("-----BEGIN PRIVATE KEY-----\n");
    expect(createPublicKey(createPrivateKey(pem)).equals(key.publicKey)).toBe(true);
  });

  test("finds keys by their names, and none by another", async () => {
    const manager = await open();
    expect(manager.keys()).toEqual([]);
    const a = await manager.generateKey("a", "ec-p256");
    const b = await manager.generateKey("b", "ec-p256");
    expect(manager.key("a")).toBe(a);
    expect(manager.key("b")).toBe(b);
    expect(manager.key("c")).toBeUndefined();
    expect(manager.key("__proto__")).toBeUndefined();
    expect(manager.keys()).toEqual([a, b]);
  });

  test("replaces a key of the same name", async () => {
    const manager = await open();
    const old = await manager.generateKey("a", "ec-p256");
    const fresh = await manager.generateKey("a", "ec-p384");
    expect(manager.keys()).toEqual([fresh]);
    expect(fresh.publicKey.equals(old.publicKey)).toBe(false);
  });

  test("keeps all of the keys that are made at the same time", async () => {
    const manager = await open();
    const names = ["a", "b", "c", "d", "e"];
    await Promise.all(names.map((name) => manager.generateKey(name, "ec-p256")));
    expect(
      manager
        .keys()
        .map(({ id }) => id)
        .sort(),
    ).toEqual(names);
  });
}
