/** The Huffman code of header strings (RFC 7541 §5.2, Appendix B). */

/**
 * How many bits the code of each byte has, as digits of base 36. The code is canonical: codes of one length follow one another in the order
 * of their bytes, so the lengths are all there is to know.
 */
const LENGTHS =
  "dnsssssssoussussssssssusssssssss6aacd68baa8b8666555666666678f6ca" +
  "d67777777777777777777777878djde6f56565666577666567655677777fbeds" +
  "kmkkmmmnmnnnnnonoomnonnnnlmnmnnomlkmmnnlnmmolmnnllmlnmnnkmmmnmmn" +
  "qqkjmnmpqqqrrqopjlqrrqrollqqsrrrkoklmllnmmppooqnqrqqrrrrrsrrrrrq";
const LONGEST = 30;
/** What fills up the last byte is the beginning of a code of ones, and shorter than a byte. */
const MOST_PADDING = 7;

/** A tree in one array: for node n, what follows a 0 is at 2n, what follows a 1 at 2n + 1. Above zero a node, below the byte -1 - x. */
let tree: Int16Array | undefined;

/** @returns the string, a character for each byte @throws Error when that is no Huffman code */
export function decodeHuffman(bytes: Uint8Array): string {
  tree ??= plant();
  const decoded: number[] = [];
  let node = 0;
  let depth = 0;
  let isAllOnes = true;
  for (const byte of bytes) {
    for (let mask = 0x80; mask > 0; mask >>= 1) {
      const isOne = (byte & mask) !== 0;
      const next = tree[2 * node + (isOne ? 1 : 0)] ?? 0;
      if (next === 0) throw new Error("no byte has such a Huffman code");
      isAllOnes &&= isOne;
      depth++;
      node = next;
      if (next > 0) continue;
      decoded.push(-1 - next);
      node = 0;
      depth = 0;
      isAllOnes = true;
    }
  }
  if (depth > MOST_PADDING || !isAllOnes) throw new Error("a Huffman code is cut short");
  return Buffer.from(decoded).toString("latin1");
}

function plant(): Int16Array {
  // No more inner nodes than leaves: the 256 bytes, and the end-of-string code, which no string may hold.
  const planted = new Int16Array(2 * 257);
  let nodes = 1;
  let code = 0;
  for (let length = 1; length <= LONGEST; length++) {
    code <<= 1;
    for (let byte = 0; byte < LENGTHS.length; byte++) {
      if (Number.parseInt(LENGTHS.charAt(byte), 36) !== length) continue;
      let node = 0;
      for (let bit = length - 1; bit > 0; bit--) {
        const at = 2 * node + ((code >> bit) & 1);
        if (planted[at] === 0) planted[at] = nodes++;
        node = planted[at] ?? 0;
      }
      planted[2 * node + (code & 1)] = -1 - byte;
      code++;
    }
  }
  return planted;
}
