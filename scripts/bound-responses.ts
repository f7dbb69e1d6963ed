/** Has the generated clients read answers no further than src/grpc/message-limits.ts allows. Arguments: the folder of the generated code. */
import { join } from "node:path";

const DECODED = /(responseDeserialize: \(value: Buffer\): (\w+) =>\s+\2\.decode\()value\)/g;
const OURS = 'import { responseReader } from "#grpc/message-limits.ts";\n';

const [folder = ""] = process.argv.slice(2);
for (const name of new Bun.Glob("**/*.ts").scanSync(folder)) {
  const file = join(folder, name);
  const text = await Bun.file(file).text();
  const methods = text.split("responseDeserialize: (").length - 1;
  if (methods === 0) continue;
  if (text.match(DECODED)?.length !== methods) throw new Error(`${file} is not as expected`);
  const bounded = text.replace(DECODED, "$1responseReader(value))");
  await Bun.write(file, bounded.replace(/^import /m, `${OURS}import `));
}
