import { fileProblem } from "#cli/input-file.ts";
import { writeFileAtomically } from "#files/atomic-write.ts";

/** Who may read a file that a command writes: everyone, or its owner alone. */
export const PUBLIC_MODE: 0o644 = 0o644;
export const PRIVATE_MODE: 0o600 = 0o600;

/** Writes a command's result to a file. @param what for the message, such as `key`. @throws Error */
export async function writeResult(
  path: string,
  data: string,
  mode: number,
  what: string,
): Promise<void> {
  try {
    await writeFileAtomically(path, data, mode);
  } catch (error) {
    throw new Error(`unable to write ${what}: open ${path}: ${fileProblem(error)}`, {
      cause: error,
    });
  }
}
