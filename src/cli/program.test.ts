import { describe, expect, test } from "bun:test";
import { defineGroup, defineLeaf } from "./command.ts";
import { stringFlag, switchFlag } from "./flags.ts";
import { runProgram } from "./program.ts";

function play(...words: string[]) {
  const ran: string[] = [];
  const leaf = (name: string, synopsis: string) =>
    defineLeaf({
      synopsis,
      flags: { to: stringFlag("To whom"), on: switchFlag("Whether") },
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
    isTerminal: false,
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
    [["walk"], 127],
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

  test("a word with others behind it shows all of them with its help, and only names them without", async () => {
    const list =
      "Subcommands:\n    fetch        Fetches\n    fetch jwt    Fetches a JWT\n    watch        Watches\n";
    const help = await play("api", "-h");
    expect(help.code).toBe(0);
    expect(help.err).toContain("Usage of api fetch jwt:\n  -on\n");
    expect(help.err).toEndWith(list);
    const bare = await play("api");
    expect(bare).toEqual({
      code: 1,
      ran: [],
      out: "",
      err: `${list}\n"api" needs one of these behind it.\n`,
    });
  });

  test.each([
    [["rnu"], 127, 'spire-x has no command "rnu". Did you mean "spire-x run"?'],
    [["hlep"], 127, 'spire-x has no command "hlep". Did you mean "spire-x help"?'],
    [["ap", "fetch"], 127, 'spire-x has no command "ap". Did you mean "spire-x api"?'],
    [["api", "wacth"], 1, 'spire-x api has no command "wacth". Did you mean "spire-x api watch"?'],
    [
      ["api", "fetch", "jwtt", "-to=a"],
      1,
      'spire-x api fetch has no command "jwtt". Did you mean "spire-x api fetch jwt"?',
    ],
    [
      ["help", "api", "fecth"],
      1,
      'spire-x api has no command "fecth". Did you mean "spire-x api fetch"?',
    ],
  ])("%p asks for the nearest word, in one line", async (words, code, line) => {
    expect(await play(...words)).toEqual({ code, ran: [], out: "", err: `${line}\n` });
  });

  test.each([
    [["bogus"], 127, 'spire-x has no command "bogus".'],
    [["api", "bogus"], 1, 'spire-x api has no command "bogus".'],
    [["api", "fetch", "bogus"], 1, 'spire-x api fetch has no command "bogus".'],
    [["api", "-to", "a", "fetch"], 1, "Flags go behind the command that they belong to"],
    [["help", "run", "bogus"], 1, 'spire-x run has no command "bogus".'],
  ])("%p, where none is near, is told below what there is", async (words, code, line) => {
    const played = await play(...words);
    expect({ ...played, err: "" }).toEqual({ code, ran: [], out: "", err: "" });
    expect(played.err.trimEnd().split("\n").at(-1)).toStartWith(line);
  });

  test("the words help and version", async () => {
    expect(await play("version")).toEqual({ code: 0, ran: [], out: "1.2.3\n", err: "" });
    expect((await play("version", "more")).code).toBe(1);
    expect((await play("help")).out).toContain("Available commands are:\n    api");
    for (const words of [["run"], ["api", "fetch", "jwt"], ["api"]]) {
      const helped = await play("help", ...words);
      expect(helped).toEqual({ code: 0, ran: [], out: (await play(...words, "-h")).err, err: "" });
    }
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
        err: "Usage of run:\n  -on\n    \tWhether\n  -to string\n    \tTo whom\n",
      });
    }
  });

  test.each([
    [
      ["run", "-version"],
      "flag provided but not defined: -version\nAll flags: spire-x run -help\n",
    ],
    [
      ["run", "-tto", "a"],
      "flag provided but not defined: -tto\nDid you mean -to? All flags: spire-x run -help\n",
    ],
    [["run", "-to"], "flag needs an argument: -to\nAll flags: spire-x run -help\n"],
    [["run", "more"], 'unexpected argument "more"\nAll flags: spire-x run -help\n'],
    [
      ["run", "-on", "false", "-to=a"],
      'unexpected argument "false"\nDid you mean -on=false? All flags: spire-x run -help\n',
    ],
    [
      ["run", "0f5ac2e3-5c8a-4f0e-9d1c-1234567890ab"],
      "unexpected argument that looks like a token\nAll flags: spire-x run -help\n",
    ],
    [["run", "spirejoin1_abc"], 'unexpected argument "spirejoin…"\nAll flags: spire-x run -help\n'],
    [["-to=a", "run"], "Flags go behind the command that they belong to.\n"],
  ])("%p: what is wrong, and no list of flags", async (words, err) => {
    expect(await play(...words)).toEqual({ code: 1, ran: [], out: "", err });
  });
});
