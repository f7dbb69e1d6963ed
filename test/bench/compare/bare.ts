/** What a server on this runtime costs before it does anything: a bare one on Bun and grpc-js, beside a bare one in Go. */
import { sign } from "node:crypto";
import { statSync } from "node:fs";
import { join } from "node:path";
import { generatePrivateKey } from "#x509/keys.ts";
import { freePort, run } from "../../support/process.ts";
import { Stage } from "../../support/spire.ts";
import { WebCa } from "../../support/web-ca.ts";
import {
  callsPerSecond,
  LOAD,
  load,
  loadCommand,
  ROOT,
  readyAfter,
  residentMegabytes,
} from "./load.ts";
import { markdownTable } from "./report.ts";

const SETTLE_MS = 2_000;
const SIGNATURES = 20_000;
/** As many as keep the thread pool busy. */
const AT_ONCE = 64;

type Figures = Readonly<Record<string, number>>;

/** A table of ratios, Bun ÷ Go, and the raw speed of signatures in both. */
export async function bareTable(milliseconds: number): Promise<string> {
  const stage = new Stage();
  try {
    const executable = await compile(stage);
    const tls = await prepareTls(stage);
    const onBun = await measure(stage, milliseconds, executable, tls.address, (socket) => [
      executable,
      socket,
      ...[tls.address, tls.key, tls.certificate],
    ]);
    const inGo = await measure(stage, milliseconds, LOAD, tls.address, (socket) =>
      loadCommand("serve-bare", { socket, ...tls }),
    );
    const go = await load<{ sign: number }>("signatures", {});
    const ratios = Object.entries(onBun).map(([what, value]) => [
      what,
      (value / (inGo[what] ?? Number.NaN)).toPrecision(2),
    ]);
    const signatures = ((await signaturesPerSecond()) / go.sign).toPrecision(2);
    return markdownTable(
      ["figure", "bare server on Bun ÷ bare server in Go"],
      [
        ...ratios,
        ["P-256 signatures a second, all cores by Bun's thread pool ÷ one core in Go", signatures],
      ],
    );
  } finally {
    await stage.close();
  }
}

/** Where both listen for TLS, in turn, and what they show. */
async function prepareTls(stage: Stage) {
  const directory = stage.room("tls");
  const ca = await WebCa.make(directory);
  await ca.issue("bare");
  const file = (name: string): string => join(directory, name);
  const address = `127.0.0.1:${await freePort()}`;
  return { address, key: file("bare.key"), certificate: file("bare.pem") };
}

async function compile(stage: Stage): Promise<string> {
  const executable = join(stage.directory, "echo-server");
  const source = join(ROOT, "test/bench/bare/echo-server.ts");
  const options = ["--compile", "--minify", "--bytecode", "--format=esm"];
  const built = await run(
    [process.execPath, "build", ...options, "--outfile", executable, source],
    { cwd: ROOT },
  );
  if (built.code !== 0) throw new Error(built.stderr);
  return executable;
}

async function measure(
  stage: Stage,
  milliseconds: number,
  executable: string,
  address: string,
  command: (socket: string) => string[],
): Promise<Figures> {
  const directory = stage.room("bare");
  const launch = (name: string) =>
    stage.daemon(command(join(directory, name)), join(directory, `${name}.log`));
  const started = await readyAfter(join(directory, "first"), () => launch("first"));
  const socket = join(directory, "second");
  const daemon = launch("second");
  await load("ready", { socket });
  await Bun.sleep(SETTLE_MS);
  const resident = residentMegabytes(daemon.pid);
  const anonymous = residentMegabytes(daemon.pid, "RssAnon");
  const calls = callsPerSecond(await load("echo", { socket, milliseconds }));
  const anew = await load("echo-anew", { socket, milliseconds });
  const anewByTls = await load("echo-anew", { address, milliseconds });
  await daemon.stop();
  return {
    "start until it answers": started,
    "resident memory, idle": resident,
    "… of that, what is not a page of a file": anonymous,
    "calls a second, 32 connections": calls,
    "call on a new connection, 32 at once: median": anew.p50,
    "… 99th percentile": anew.p99,
    "call on a new connection by TLS, 32 at once: median": anewByTls.p50,
    "… by TLS, 99th percentile": anewByTls.p99,
    "size of the executable": statSync(executable).size,
  };
}

/** By the thread pool, as the server signs. */
async function signaturesPerSecond(): Promise<number> {
  const key = await generatePrivateKey("ec-p256");
  const data = Buffer.from("bench");
  const one = (): Promise<void> => {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    sign("sha256", data, key, (error) => (error === null ? resolve() : reject(error)));
    return promise;
  };
  const started = performance.now();
  let left = SIGNATURES;
  const worker = async (): Promise<void> => {
    while (left-- > 0) await one();
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return SIGNATURES / ((performance.now() - started) / 1000);
}
