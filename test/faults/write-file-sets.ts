/** Replaces a set of files without end, as fast as it can, and says what it wrote. Usage: write-file-sets.ts DIRECTORY FIRST */
import { FileSet } from "#files/file-set.ts";

const [directory = "", first = "0"] = process.argv.slice(2);
const set = await FileSet.open(directory, {});
for (let count = Number(first); ; count++) {
  const data = `${count}\n`.repeat(1000);
  await set.replace(
    ["key.pem", "svid.pem", "bundle.pem"].map((name) => ({ name, data, mode: 0o600 })),
  );
  process.stdout.write(`wrote ${count}\n`);
}
