import { expect, test } from "bun:test";
import { Block, Problems } from "#config/block.ts";
import { parseHcl } from "#config/hcl.ts";
import { tlsPolicy } from "#http/tls-policy.ts";
import { readSpireUpstreamConfig, type SpireUpstreamConfig } from "./config.ts";

function read(text: string): SpireUpstreamConfig {
  const problems = new Problems("server.conf");
  const data = new Block([parseHcl(text, "server.conf")], "the plugin_data block", problems);
  const config = readSpireUpstreamConfig(data, problems);
  data.finish();
  problems.check();
  return config;
}

const GOOD = `server_address = "up.example.org"\nserver_port = "8081"\nworkload_api_socket = "/s"\n`;

test("the port may be text, as in the reference's examples, or a number", () => {
  const config = {
    name: "spire",
    serverAddress: "up.example.org",
    serverPort: 8081,
    workloadApiSocket: "/s",
    tlsPolicy: tlsPolicy(false),
  } as const;
  expect(read(GOOD)).toEqual(config);
  expect(read(GOOD.replace('"8081"', "8081"))).toEqual(config);
  expect(read(GOOD.replace("org", "org:8081"))).toEqual(config);
  expect(read(GOOD.replace("org", "org:8081").replace(/server_port.*\n/, ""))).toEqual(config);
  expect(read(GOOD.replace("up.example.org", "[::1]")).serverAddress).toBe("::1");
  expect(read(`${GOOD}experimental { require_pq_kem = true }`)).toEqual({
    ...config,
    tlsPolicy: tlsPolicy(true),
  });
});

test.each([
  ["", "server_address is required"],
  ["", "server_port is required"],
  ["", "workload_api_socket is required"],
  [GOOD.replace("8081", "grpc"), "server_port is not a port number"],
  [GOOD.replace("8081", "70000"), "server_port is not a port number"],
  [
    GOOD.replace("org", "org:1"),
    'server.conf:1: UpstreamAuthority "spire": server_address: the address "up.example.org:1" has port 1 in it, but the port is set to 8081',
  ],
  [GOOD.replace("up.", "https://up."), '"https://up.example.org" is no address of a server'],
  [
    `${GOOD}experimental { workload_api_named_pipe_name = "p" }`,
    "workload_api_named_pipe_name is not supported on this platform",
  ],
  [`${GOOD}experimental { server_prot = 1 }`, 'unknown configuration detected: key "server_prot"'],
])("%p is refused: %s", (text, complaint) => {
  expect(() => read(text)).toThrow(complaint);
});
