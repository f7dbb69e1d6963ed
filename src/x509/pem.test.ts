import { describe, expect, test } from "bun:test";
import { privateKeyFromPem } from "./keys.ts";
import { certificatesFromPem, decodePem, encodePem, readCertificatesFromPem } from "./pem.ts";

const one = Uint8Array.from({ length: 100 }, (_, at) => at);
const other = Uint8Array.from({ length: 70 }, (_, at) => 255 - at);
const first = encodePem("CERTIFICATE", one);
const second = encodePem("CERTIFICATE", other);
const lines = second.split("\n");
const withLine = (at: number, line: string): string => lines.toSpliced(at, 0, line).join("\n");

describe("all certificates are read", () => {
  test.each([
    ["one after the other", first + second],
    ["with text before and between", `subject=CN = a\n${first}\nBag Attributes\n  x: y\n${second}`],
    ["with the line ends of Windows", (first + second).replaceAll("\n", "\r\n")],
    ["indented", (first + second).replace(/^/gm, "    ")],
    ["each on one line", `${first.replaceAll("\n", "")}\n${second.replaceAll("\n", " ")}`],
    ["all on one line", (first + second).replaceAll("\n", "")],
    ["with headers in the second", first + withLine(1, "friendlyName: a\nX-Y: b\n  goes on\n")],
    ["with a header and no empty line", first + withLine(1, "friendlyName: a")],
    ["of the older name", first + second.replaceAll(" CERTIFICATE", " X509 CERTIFICATE")],
    ["beside a key", first + encodePem("PRIVATE KEY", one) + second],
    ["with a third commented out", first + second + first.replace(/^/gm, "# ")],
    ["with a remark on a boundary", `keep the -----END CERTIFICATE-----\n${first}${second}`],
    ["after a byte order mark", `\ufeff${first}${second}`],
  ])("%s", (_what, text) => {
    expect(certificatesFromPem(text).map((der) => Uint8Array.from(der))).toEqual([one, other]);
  });
});

describe("what is damaged is named by its line", () => {
  test.each([
    ["text within the second", first + withLine(2, "some remark"), /^line 8: .* not base64/],
    ["a header further down", first + withLine(2, "friendlyName: a"), /^line 8: .* not base64/],
    [
      "text behind the first boundary of the second",
      first + second.replace("-----\n", "-----AAAA\nX-Y: b\n"),
      /^line 7: .* not base64/,
    ],
    ["a second that is cut off", first + lines.slice(0, 2).join("\n"), /^line 6: .* is cut off/],
    [
      "a first that is cut off",
      `${first.split("\n").slice(0, 2).join("\n")}\n${second}`,
      /^line 1: .* is cut off/,
    ],
    ["no first line", lines.slice(1).join("\n"), /^line 3: .* first line is missing/],
    ["a damaged first line", first + second.replace("-----B", "----B"), /^line 9: .* first line/],
    ["a damaged last line", second.replace("-----END", "----END"), /^line 1: .* is cut off/],
    [
      "another end",
      first + second.replace("END CERT", "END X CERT"),
      /^line 6: .* ends as "X CERT/,
    ],
    ["nothing in it", first + [lines[0], lines[3]].join("\n"), /^line 6: .* is damaged/],
    ["a letter too few", second.replace(/==|=/, "").replace(/.\n-----E/, "\n-----E"), /line 1:/],
    [
      "openssl's own form",
      first + encodePem("TRUSTED CERTIFICATE", one),
      /^line 6: .*openssl x509/,
    ],
    ["PKCS #7", encodePem("PKCS7", one), /^line 1: .*openssl pkcs7/],
    ["no certificate", encodePem("PRIVATE KEY", one), /^no PEM blocks of type CERTIFICATE/],
  ])("%s", (_what, text, message) => {
    expect(() => certificatesFromPem(text)).toThrow(message);
  });

  test("so is a certificate that cannot be read", () => {
    const parse = (der: Uint8Array): number => {
      if (der.length === other.length) throw new Error("it is cut off");
      return der.length;
    };
    expect(() => readCertificatesFromPem(first + second, parse)).toThrow("line 6: it is cut off");
    expect(readCertificatesFromPem(first + first, parse)).toEqual([one.length, one.length]);
  });

  test("and never shown, as it may be a key", () => {
    const text = withLine(2, "secret of the house");
    expect(() => decodePem(text)).toThrow(/^((?!secret).)*$/);
  });
});

test("a key that is encrypted in the older way is said to be", () => {
  const header = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00112233\n\n";
  const text = encodePem("EC PRIVATE KEY", one).replace("-----\n", `-----\n${header}`);
  expect(() => privateKeyFromPem(text)).toThrow(/is encrypted/);
  expect(() => privateKeyFromPem(encodePem("ENCRYPTED PRIVATE KEY", one))).toThrow(/is encrypted/);
});

test("a long text without an end is soon refused", () => {
  const started = performance.now();
  expect(() => decodePem("-----BEGIN A-----".repeat(200_000))).toThrow(/line 1/);
  expect(decodePem("# -----END A-----".repeat(200_000))).toEqual([]);
  expect(performance.now() - started).toBeLessThan(5_000);
});
