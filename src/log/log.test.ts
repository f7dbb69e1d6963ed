import { expect, test } from "bun:test";
import { join } from "node:path";

test("a sink that fails stops nothing: the loss is told once on standard error, and again after lines came through", async () => {
  const script = `
    import { createLog } from ${JSON.stringify(join(import.meta.dir, "log.ts"))};
    const answers = ["full", "full", "", "full"];
    const log = createLog({ level: "info", format: "text" }, () => 0, {
      write: () => {
        const problem = answers.shift();
        if (problem) throw new Error("the disk is " + problem);
      },
    });
    for (let line = 0; line < 4; line += 1) log.with({ line }).info("something happened");
  `;
  const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe", stderr: "pipe" });
  const told = "log lines are lost until the log can be written again: the disk is full\n";
  expect(await new Response(child.stderr).text()).toBe(told.repeat(2));
  expect(await child.exited).toBe(0);
});
