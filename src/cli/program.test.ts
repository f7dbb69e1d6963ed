import { describe, expect, test } from "bun:test";
import { defineGroup, defineLeaf } from "./command.ts";
import { stringFlag } from "./flags.ts";
import { runProgram } from "./program.ts";

function play(...words: string[]) {
  const ran: string[] = [];
  const leaf = (name: string, synopsis: string) =>
    defineLeaf({
      synopsis,
      flags: { to: stringFlag("To whom") },
      run: ({ flags }) => {
        ran.push(`${name} to=${flags.to}`);
        return Promise.resolve(flags.to === "fail" ? 1 : 0);
      },
    });
  const fetch = leaf("fetch", "Fetches");
  const commands = defineGroup({
    run: leaf("run", "Runs"),
    api: defineGroup({
      fetch: defineGroup({ jwt: leaf("jwt", "Fetches a JWT") }, fetch),
      watch: leaf("watch", "Watches"),
    }),
  });
  const texts = { out: "", err: "" };
  const io = {
    env: {},
    out: (text: string) => {
      texts.out += text;
    },
    err: (text: string) => {
      texts.err += text;
    },
    readInput: () => Promise.resolve(new Uint8Array()),
  };
  return runProgram({ name: "spire-x", version: "1.2.3", commands }, words, io).then((code) => ({
    code,
    ran,
    ...texts,
  }));
}

describe("which command runs", () => {
  test.each([
    [["run"], ["run to="], 0],
    [["run", "-to", "a"], ["run to=a"], 0],
    [["run", "-to=a_b"], ["run to=a_b"], 0],
    [["run", "-to=fail"], ["run to=fail"], 1],
    [["api", "fetch", "jwt", "-to=a"], ["jwt to=a"], 0],
    [["api", "fetch", "-to=a"], ["fetch to=a"], 0],
    [["api", "fetch", "wit", "-to=a"], ["fetch to="], 0],
    [["api", "watch", "more"], ["watch to="], 0],
    [["run", "-to", "--version"], ["run to=--version"], 0],
    [["run", "--", "-h"], ["run to="], 0],
  ])("%p", async (words, ran, code) => {
    const played = await play(...words);
    expect(played.ran).toEqual(ran);
    expect(played.code).toBe(code);
  });
});

describe("what is no command", () => {
  test.each([
    [[], 127],
    [["bogus"], 127],
    [["help"], 127],
    [["toString"], 127],
    [["--help"], 0],
    [["-h"], 0],
    [["bogus", "-h"], 127],
  ])("%p lists the commands and ends with %d", async (words, code) => {
    const played = await play(...words);
    expect(played.code).toBe(code);
    expect(played.err).toContain("Available commands are:\n    api");
    expect(played.out).toBe("");
  });

  test.each([[["--version"]], [["-version"]], [["-v"]], [["-v", "run"]]])(
    "%p prints the version",
    async (words) => {
      expect(await play(...words)).toEqual({ code: 0, ran: [], out: "", err: "1.2.3\n" });
    },
  );

  test.each([
    [["api"], 1],
    [["api", "bogus"], 1],
    [["api", "-h"], 0],
  ])("%p shows all below and ends with %d", async (words, code) => {
    const played = await play(...words);
    expect(played.code).toBe(code);
    expect(played.err).toContain("Usage of api fetch jwt:\n  -to string\n");
    expect(played.err).toEndWith(
      "Subcommands:\n    fetch        Fetches\n    fetch jwt    Fetches a JWT\n    watch        Watches\n",
    );
  });

  test("help of a command, wherever it is asked for", async () => {
    for (const words of [
      ["run", "-h"],
      ["-h", "run"],
      ["run", "-to", "--help"],
    ]) {
      const played = await play(...words);
      expect(played).toEqual({
        code: 0,
        ran: [],
        out: "",
        err: "Usage of run:\n  -to string\n    \tTo whom\n",
      });
    }
  });

  test("wrong flags", async () => {
    const wrong = await play("run", "-version");
    expect(wrong.code).toBe(1);
    expect(wrong.err).toStartWith("flag provided but not defined: -version\nUsage of run:\n");
    const misplaced = await play("-to=a", "run");
    expect(misplaced.code).toBe(1);
    expect(misplaced.ran).toEqual([]);
  });
});
