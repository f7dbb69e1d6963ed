/** PEM (RFC 7468): the text form of certificates and keys in files. */

export interface PemBlock {
  readonly label: string;
  readonly der: Uint8Array;
  /** The headers of RFC 1421 that older tools write before the base64, by name. */
  readonly headers: ReadonlyMap<string, string>;
  /** Where the block begins, counted from 1. */
  readonly line: number;
}

const BOUNDARY = /-----(BEGIN|END) ([^\r\n-]+)-----/g;
const HEADER = /^\s*([A-Za-z][A-Za-z0-9-]*):(.*)$/;
/** Words with spaces between them are a remark. */
const BASE64_LINE = /^\s*[A-Za-z0-9+/=]*\s*$/;
/** A block that is all on one line may have spaces where its lines ended. */
const BASE64_LINES = /^[A-Za-z0-9+/=\s]*$/;
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;

interface Begun {
  readonly label: string;
  readonly line: number;
}

/**
 * All PEM blocks of a text, in order. Text between them is skipped, as RFC 7468 §2 allows, but a block that was begun is read to its end:
 * whoever put it there counts on it.
 *
 * @throws Error naming the line of a block that is cut off, or holds what is not base64; never with what it holds
 */
export function decodePem(text: string): PemBlock[] {
  const blocks: PemBlock[] = [];
  const lineAt = lineCounter(text);
  let begun: Begun | undefined;
  let read = 0;
  for (const { 0: whole, 1: kind, 2: label = "", index } of text.matchAll(BOUNDARY)) {
    const line = lineAt(index);
    const between = text.slice(read, index);
    read = index + whole.length;
    if (kind === "END") {
      if (begun !== undefined) blocks.push(block(begun, label, between));
      else if (beginsLine(between)) throw strayEnd(label, line);
      begun = undefined;
    } else if (begun !== undefined) {
      throw unended(begun);
    } else if (beginsLine(between)) {
      begun = { label, line };
    }
  }
  if (begun !== undefined) throw unended(begun);
  return blocks;
}

/** Tells the line of a position; to be asked for them in order. */
function lineCounter(text: string): (position: number) => number {
  let line = 1;
  let next = text.indexOf("\n");
  return (position) => {
    for (; next !== -1 && next < position; next = text.indexOf("\n", next + 1)) line += 1;
    return line;
  };
}

/**
 * Otherwise the boundary is part of a remark, or commented out. Blocks may also follow one another on one line.
 *
 * @param between what stands between the boundary and the one before
 */
function beginsLine(between: string): boolean {
  return between.slice(between.lastIndexOf("\n") + 1).trim() === "";
}

function strayEnd(label: string, line: number): Error {
  return new Error(
    `line ${line}: the PEM block "${label}" ends here, but its first line is missing or damaged`,
  );
}

function unended({ label, line }: Begun): Error {
  return new Error(`line ${line}: the PEM block "${label}" that begins here is cut off`);
}

function block({ label, line }: Begun, endLabel: string, body: string): PemBlock {
  if (endLabel !== label) {
    throw new Error(
      `line ${line}: the PEM block "${label}" that begins here ends as "${endLabel}"`,
    );
  }
  const lines = body.split("\n");
  const { headers, length } = leadingHeaders(lines);
  const form = lines.length === 1 ? BASE64_LINES : BASE64_LINE;
  const damaged = lines.findIndex((one, at) => at >= length && !form.test(one));
  if (damaged !== -1) {
    throw new Error(`line ${line + damaged}: the PEM block "${label}" holds what is not base64`);
  }
  const encoded = lines.slice(length).join("").replace(/\s+/g, "");
  if (!BASE64.test(encoded) || encoded.replace(/=+$/, "").length % 4 === 1) {
    throw new Error(`line ${line}: the PEM block "${label}" that begins here is damaged`);
  }
  return { label, der: Buffer.from(encoded, "base64"), headers, line };
}

/** @returns the headers, and how many lines they take with the line that begins the block */
function leadingHeaders(lines: readonly string[]): {
  readonly headers: ReadonlyMap<string, string>;
  readonly length: number;
} {
  const headers = new Map<string, string>();
  let last: string | undefined;
  let length = 1;
  if (lines[0]?.trim() !== "") return { headers, length: 0 };
  for (; length < lines.length; length++) {
    const line = lines[length] ?? "";
    const [, name, value = ""] = HEADER.exec(line) ?? [];
    // RFC 1421 §4.6: a line that begins with white space goes on with the header before.
    const goesOn = last !== undefined && /^[ \t]+\S/.test(line);
    if (name === undefined && !goesOn) break;
    if (name !== undefined) headers.set(name, value.trim());
    last = name ?? last;
  }
  return { headers, length: headers.size === 0 ? 0 : length };
}

/** One PEM block with lines of 64 characters and a final newline. */
export function encodePem(label: string, der: Uint8Array): string {
  const body = Buffer.from(der)
    .toString("base64")
    .replace(/.{64}(?=.)/g, "$&\n");
  return `-----BEGIN ${label}-----\n${body}\n-----END ${label}-----\n`;
}

/** Blocks that hold certificates in a form that is not read here; to pass over one in silence would leave its certificates out. */
const OTHER_FORMS: ReadonlyMap<string, string> = new Map([
  ["TRUSTED CERTIFICATE", "openssl x509 -in FILE"],
  ["PKCS7", "openssl pkcs7 -print_certs -in FILE"],
  ["CMS", "openssl cms -print_certs -in FILE"],
]);

/** The blocks that hold a certificate each; those of other kinds, keys for instance, are skipped. @throws Error */
function certificateBlocks(text: string): PemBlock[] {
  const blocks = decodePem(text);
  for (const { label, line } of blocks) {
    const command = OTHER_FORMS.get(label);
    if (command === undefined) continue;
    throw new Error(
      `line ${line}: a PEM block "${label}" is not supported; \`${command}\` writes its certificates as CERTIFICATE`,
    );
  }
  // X509 CERTIFICATE is the older name (RFC 7468 §5.1).
  const found = blocks.filter(({ label }) => /^(X509 )?CERTIFICATE$/.test(label));
  if (found.length === 0) throw new Error("no PEM blocks of type CERTIFICATE found");
  return found;
}

/**
 * The certificates of a PEM text, DER, in order, unread. Blocks of other kinds are skipped.
 *
 * @throws Error naming the line of what is damaged, or when there is none
 */
export function certificatesFromPem(text: string): Uint8Array[] {
  return certificateBlocks(text).map(({ der }) => der);
}

/**
 * The certificates of a PEM text, each read by `parse`.
 *
 * @throws Error naming the line of what is damaged, or when there is none
 */
export function readCertificatesFromPem<T>(text: string, parse: (der: Uint8Array) => T): T[] {
  return certificateBlocks(text).map(({ der, line }) => {
    try {
      return parse(der);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new Error(`line ${line}: ${why}`, { cause: error });
    }
  });
}

/** Certificates one after the other as PEM. */
export function certificatesToPem(certificates: readonly Uint8Array[]): string {
  return certificates.map((der) => encodePem("CERTIFICATE", der)).join("");
}
