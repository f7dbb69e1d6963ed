import { constants } from "node:fs";
import { open } from "node:fs/promises";

const { O_RDONLY, O_NONBLOCK, O_NOFOLLOW } = constants;

/**
 * Reads all of a file that others may put in its place: never waits for a pipe, reads no device, and takes no more than it should into
 * memory.
 *
 * @param maxBytes the largest file that is read
 * @param links whether the path itself may be a link
 * @throws the file system's error; Error when it is no regular file, too large, or grows meanwhile
 */
export async function readBounded(
  path: string,
  maxBytes: number,
  links: "followed" | "refused" = "followed",
): Promise<Buffer> {
  const noLink = links === "refused" ? O_NOFOLLOW : 0;
  await using file = await open(path, O_RDONLY | O_NONBLOCK | noLink);
  const facts = await file.stat();
  if (!facts.isFile()) throw new Error("is not a regular file");
  if (facts.size > maxBytes) throw new Error(`larger than ${maxBytes} bytes`);
  const buffer = Buffer.alloc(facts.size + 1);
  let length = 0;
  for (;;) {
    const { bytesRead } = await file.read(buffer, length, buffer.length - length, length);
    if (bytesRead === 0) return buffer.subarray(0, length);
    length += bytesRead;
    if (length > facts.size) throw new Error("grew while it was read");
  }
}
